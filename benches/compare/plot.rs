//! The table as bars, in plain SVG: each row's figures as ratios to the better of nginx and HAProxy, which is the
//! line at 1. Bars that would leave the picture are cut and say their ratio.

use std::fmt::Write as _;

use crate::peers::Peer;
use crate::report::Report;

const LEFT: f64 = 430.0;
const UNIT: f64 = 220.0;
const MOST: f64 = 2.0;
const BAR: f64 = 12.0;

/// Draws the report.
pub fn bars(report: &Report) -> String {
    let peers = report.peers();
    let group = BAR * peers.len() as f64 + 14.0;
    let height = 56.0 + group * report.rows().len() as f64;
    let width = LEFT + UNIT * MOST + 60.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let mut x = LEFT;
    for peer in &peers {
        let (name, colour) = (peer.name(), colour(*peer));
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"10\" width=\"12\" height=\"12\" fill=\"{colour}\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"20\" fill=\"#222\">{name}</text>", x + 17.0);
        x += 95.0;
    }
    let _ =
        writeln!(svg, "<text x=\"10\" y=\"20\" fill=\"#222\">lower is better; 1 = the better of nginx, haproxy</text>");
    let mut y = 40.0;
    for row in report.rows() {
        let middle = y + (group - 10.0) / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" fill=\"#222\">{}</text>",
            LEFT - 10.0,
            row.title
        );
        for (at, peer) in peers.iter().enumerate() {
            let top = y + BAR * at as f64;
            let Some((value, mark)) = report.median(row, *peer).zip(report.mark(row)) else { continue };
            let ratio = value / mark;
            let length = (ratio.clamp(0.0, MOST) * UNIT).round();
            let colour = colour(*peer);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{length}\" height=\"{}\" fill=\"{colour}\"/>",
                BAR - 1.0
            );
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" font-size=\"10\" fill=\"#444\">{ratio:.2}</text>",
                LEFT + length + 4.0,
                top + 9.0
            );
        }
        y += group;
    }
    let line = LEFT + UNIT;
    let _ = writeln!(
        svg,
        "<line x1=\"{line}\" y1=\"34\" x2=\"{line}\" y2=\"{}\" stroke=\"#222\" stroke-dasharray=\"3 3\"/>",
        y - 8.0
    );
    svg.push_str("</svg>\n");
    svg
}

fn colour(peer: Peer) -> &'static str {
    match peer {
        Peer::Doorward => "#c2410c",
        Peer::Packaged => "#ea9a6a",
        Peer::Nginx => "#4d8f5b",
        Peer::Haproxy => "#4a74b0",
        Peer::Caddy => "#a0a0a0",
        Peer::Pingora => "#c9b458",
        Peer::Relay => "#d8d8d8",
    }
}

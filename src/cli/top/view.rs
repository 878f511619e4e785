//! The table on a terminal. Draws what it is given; asks nobody.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::Paragraph;

use super::Shape;
use super::rows::{HEADINGS, Row, Table};

/// The keys, at the bottom.
const KEYS: &str = "sort: r e b w f p n   filter: /   all: Esc   end: q";

pub(super) fn draw(frame: &mut Frame<'_>, table: &Table, shape: &Shape) {
    let [above, rows, below] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let heading = Style::new().add_modifier(Modifier::BOLD);
    let head = vec![Line::raw(table.summary()), Line::styled(HEADINGS, heading)];
    frame.render_widget(Paragraph::new(Text::from(head)), above);
    let lines: Vec<Line<'_>> =
        table.routes.iter().take(usize::from(rows.height)).map(|row| Line::styled(row.line(), style(row))).collect();
    frame.render_widget(Paragraph::new(Text::from(lines)), rows);
    let hidden = table.routes.len().saturating_sub(usize::from(rows.height));
    let hidden = if hidden > 0 { format!("   ({hidden} more)") } else { String::new() };
    let last = match (shape.is_typing, shape.filter.as_str()) {
        (true, filter) => format!("filter: {filter}_"),
        (false, "") => format!("{KEYS}{hidden}"),
        (false, filter) => format!("{KEYS}   [{filter}]{hidden}"),
    };
    frame.render_widget(Paragraph::new(last).style(Style::new().add_modifier(Modifier::DIM)), below);
}

/// What needs a person stands out.
fn style(row: &Row) -> Style {
    let is_ok = row.upstream.as_deref().is_none_or(|state| state == "ok" || state == "none");
    match (is_ok, row.errors_per_second > 0.0) {
        (false, _) => Style::new().fg(Color::Red),
        (true, true) => Style::new().fg(Color::Yellow),
        (true, false) => Style::new(),
    }
}

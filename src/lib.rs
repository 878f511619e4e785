//! Doorward: a reverse proxy and TLS edge gateway. Rooms, lowest floor first; a room imports only lower floors.

pub mod http1;
pub mod model;

pub mod config;
pub mod telemetry;

pub mod cert;
pub mod upstream;

pub mod snapshot;

pub mod acme;
pub mod admin;
pub mod import;
pub mod mail;
pub mod provider;
pub mod serve;
pub mod service;

pub mod app;

pub mod cli;

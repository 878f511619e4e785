//! Doorward: a reverse proxy and TLS edge gateway. Rooms, lowest floor first; a room imports only lower floors.

pub mod cert;
pub mod config;
pub mod model;
pub mod provider;
pub mod telemetry;

//! What every service needs and none should write twice.
//!
//! * [`clock`]: the only reader of clocks and of chance.
//! * [`metrics`]: what is measured, for those who look at it over OTLP.
//! * [`settings`]: a file's section, then the environment, and what is wrong with them.
//! * [`telemetry`]: the log on standard error; traces, logs and metrics over OTLP when asked for.
//! * [`shutdown`]: signals, and the tasks that stopping waits for.
//! * [`tls`]: the one crypto provider.
//! * [`waiting`]: for a server that is not there yet.
//! * [`grpc`]: listening, dialling and health.

pub mod clock;
pub mod grpc;
pub mod metrics;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod waiting;

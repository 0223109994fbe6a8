//! The metering gateway: identify, read, authorize, forward, meter, settle.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod alerts;
mod api;
mod body;
pub mod config;
mod gateway;
mod metrics;
mod policy;
mod proxy;
mod refusal;
mod routes;
mod secret;
mod server;
mod state;
mod upstream;

pub use alerts::{AlertCounts, AlertKind, Webhook, WebhookError};
pub use gateway::{Counts, Gateway, Parts};
pub use policy::{
    Action, Actions, Fallbacks, Measures, NoticeForm, OnDisconnect, OnRunaway, Policy, UnknownPrice,
};
pub use proxy::identify::{Keyring, VirtualKey};
pub use routes::Provider;
pub use secret::{Secret, SecretHash, WeakSecret};
pub use state::{Limiting, NotApproved, Question};
pub use upstream::{Credential, Upstream, UpstreamError};

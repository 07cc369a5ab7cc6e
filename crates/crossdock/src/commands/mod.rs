//! One module per command: its arguments, its help, what it does.

pub(crate) mod adapter;
pub(crate) mod api_key;
pub(crate) mod apply;
pub(crate) mod bench;
pub(crate) mod browser_token;
pub(crate) mod check;
pub(crate) mod dead_letter;
pub(crate) mod event;
pub(crate) mod import;
pub(crate) mod journey;
pub(crate) mod prove;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod user;

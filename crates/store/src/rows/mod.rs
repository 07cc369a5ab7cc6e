//! Rows as the databases give them, and what is read out of them. Names and kinds of columns are the same in every
//! backend; how they are asked for is each backend's own.

pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod figures;
pub(crate) mod ledger;
pub(crate) mod outcomes;
pub(crate) mod people;
pub(crate) mod quarantine;
pub(crate) mod retention;
pub(crate) mod set_up;
pub(crate) mod states;
pub(crate) mod tokens;

//! The library's rules: who may publish, read and subscribe; what changes; who must be told (XEP-0060, XEP-0163).
//!
//! Pure functions over plain data: no socket, disk, clock or chance. Read in this order: [`model`] (what there is),
//! [`access`] (who may do what), [`request`] (what can be asked, and what must be loaded to answer it),
//! [`decide()`] (the answer), [`decision`] (what an answer is made of), [`refusal`] (every way to say no),
//! [`wire`] (the same in XML), [`profile`] (what is special about particular nodes).
//!
//! A caller loads the node, asks [`request::Request::needs`] what else the question needs, loads that into a
//! [`request::View`], calls [`decide()`], commits the changes as one batch, and then sends the notices and the reply.
//! No request needs more than a bounded number of rows, however many items and subscribers a node has: lists are
//! named in the [`decision::Reply`] and walked by who holds the store.
#![forbid(unsafe_code)]

pub mod access;
pub mod config;
pub mod decide;
pub mod decision;
pub mod extended;
pub mod model;
pub mod options;
pub mod order;
pub mod profile;
pub mod refusal;
pub mod request;
pub mod time;
pub mod wire;

pub use config::NodeConfig;
pub use decide::decide;
pub use decision::{Audience, Change, Decision, Event, Notice, Reply};
pub use model::{Affiliation, Home, Item, Limits, Node, SubId, Subscription, SubscriptionState, Tally};
pub use refusal::Refusal;
pub use request::{Caller, Needs, Request, View};
pub use time::Timestamp;

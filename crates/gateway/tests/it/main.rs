//! The real program on loopback, with scripted peers and clients around it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod accept;
mod accounts;
mod alarms;
mod behave;
mod configure;
mod crash;
mod deliver;
mod gateway;
mod greylist;
mod identity;
mod loops;
mod operate;
mod pages;
mod resolve;
mod returns;
mod sandbox;
mod scan;
mod scanners;
mod spf;
mod systemd;
mod tls;
mod trail;
mod validate;
mod visit;
mod web;

//! The real program on loopback, with scripted peers and clients around it.

mod accept;
mod crash;
mod deliver;
mod gateway;
mod operate;

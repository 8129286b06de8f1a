//! The real binary, end to end: style.md §6, "end to end".
//!
//! Few and slow, each for something that no simulation shows: that a person's commands do what the
//! README says, and that what was acknowledged is there after a kill, after a power cut, and because
//! of the sync it rests on. A broker whose `fdatasync` does nothing must fail the last two, and does
//! so here, so that their passing means something.

#[path = "support/boards.rs"]
mod boards;
#[path = "support/broker.rs"]
mod broker;
#[path = "kafka_wire/schema.rs"]
#[expect(dead_code, reason = "shared with the codec's tests, which use the rest")]
mod kafka_schema;
#[path = "support/lan.rs"]
mod lan;
#[path = "support/load.rs"]
mod load;
#[path = "support/peers.rs"]
mod peers;
#[path = "support/power.rs"]
mod power;
#[path = "support/stream.rs"]
mod stream;
#[path = "support/under_load.rs"]
mod under_load;
mod e2e {
    mod bad_input;
    mod compact;
    mod damage;
    mod demo;
    mod failover;
    mod groups;
    mod hostile;
    mod kill;
    mod members;
    mod memory;
    mod mistakes;
    mod once;
    mod order;
    mod peer;
    mod power_cut;
    mod reload;
    mod site;
    mod site_grow;
    mod site_join;
    mod site_orders;
    mod site_power;
    mod site_restarts;
    mod stop;
    mod storm;
    mod tour;
    mod trace;
}

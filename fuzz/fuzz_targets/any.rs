//! The target of cargo-fuzz: the one that `ODRADEK_FUZZ` names.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use odradek_fuzz::{Target, targets};

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn choose() -> Target {
    let name = std::env::var("ODRADEK_FUZZ").unwrap_or_default();
    let mut all = targets::all();
    let names: Vec<String> = all.iter().map(|target| target.name.clone()).collect();
    let place = names.iter().position(|known| *known == name);
    let place = place.unwrap_or_else(|| panic!("ODRADEK_FUZZ is one of\n{}", names.join("\n")));
    all.swap_remove(place)
}

fuzz_target!(|bytes: &[u8]| (CHOSEN.get_or_init(choose).run)(bytes));

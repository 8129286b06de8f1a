//! `kill -9` under `odradek produce`: what it sends again is stored once, and in order.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::broker::{Folder, Setup};

#[test]
fn a_producer_outlives_its_broker_and_stores_each_record_once() {
    let folder = Folder::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    let setup = Setup::new(&folder.join("data")).set("listeners", &format!("wire://{address}"));
    let mut broker = setup.start();
    broker.text(&["topic", "create", "once", "--set", "segment.bytes=65536"]);
    let mut producer = broker.command(&["produce", "once"]);
    producer.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut producer = producer.spawn().expect("the binary starts");
    let mut input = producer.stdin.take().expect("piped");
    let wanted: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
    let lines = wanted.clone();
    let feeder = thread::spawn(move || {
        for chunk in lines.chunks(50) {
            input.write_all((chunk.join("\n") + "\n").as_bytes()).expect("it reads");
            thread::sleep(Duration::from_millis(5));
        }
    });
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(300));
        broker.kill();
        broker = setup.start();
    }
    feeder.join().expect("all is fed");
    assert!(producer.wait().expect("it ends").success(), "every record was acknowledged");
    let stored = broker.consume(&["once"]);
    assert_eq!(stored.len(), wanted.len(), "{}", broker.words());
    assert!(stored == wanted, "each once, in order");
    let metrics = broker.text(&["status", "--json"]);
    assert!(metrics.contains("producer_ids_now"), "{metrics}");
}

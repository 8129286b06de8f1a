//! Clients: machines that speak the wire's own frames over the network of the simulation.

mod admin;
mod link;
mod member;
mod operator;
mod producer;
mod reader;

use std::collections::BTreeMap;

use bytes::Bytes;
use odradek::ids::{LeaderEpoch, TopicId};

pub use admin::Admin;
pub use link::Link;
pub use member::Member;
pub use operator::Operator;
pub use producer::{Kind, Producer};
pub use reader::Reader;

use super::checkers::history::Lane;
use super::event::{Event, NodeNumber};
use super::world::World;

/// The topics that clients use.
pub const TOPICS: [(&str, i32); 2] = [("readings", 2), ("events", 1)];

/// What a client is for.
pub enum Role {
    Producer(Producer),
    Reader(Reader),
    Admin(Admin),
    Member(Box<Member>),
    Operator(Operator),
}

/// Who leads what, as a client was told.
#[derive(Clone, Debug, Default)]
pub struct Leaders(pub BTreeMap<Lane, (NodeNumber, LeaderEpoch)>);

/// A client.
pub struct Client {
    pub id: u32,
    pub link: Link,
    pub leaders: Leaders,
    /// The newest epoch of each partition that it was told of.
    pub epochs: BTreeMap<Lane, LeaderEpoch>,
    pub topic_ids: BTreeMap<u8, TopicId>,
    pub role: Role,
}

/// All of them.
#[derive(Default)]
pub struct Clients {
    pub all: BTreeMap<u32, Client>,
}

impl World {
    /// Another client, which begins at once.
    pub fn add_client(&mut self, role: Role) -> u32 {
        let id = self.clients.all.len() as u32;
        let link = Link::new(id);
        let (leaders, epochs, topic_ids) = <_>::default();
        self.clients.all.insert(id, Client { id, link, leaders, epochs, topic_ids, role });
        self.at(self.us, Event::Client(id, 0));
        id
    }

    /// Takes a client out, has it do something, and puts it back.
    pub fn with_client(&mut self, id: u32, act: impl FnOnce(&mut World, &mut Client)) {
        let mut client = self.clients.all.remove(&id).expect("clients stay");
        act(self, &mut client);
        self.clients.all.insert(id, client);
    }

    /// A client's timer.
    pub fn client_timer(&mut self, id: u32, _token: u64) {
        self.with_client(id, |world, client| {
            client.expire(world);
            client.go_on(world);
        });
    }

    /// A frame came for a client.
    pub fn client_frame(&mut self, id: u32, conn: u64, frame: &Bytes) {
        self.with_client(id, |world, client| {
            client.take(world, conn, frame);
            client.go_on(world);
        });
    }

    /// A client's connection is gone.
    pub fn client_gone(&mut self, id: u32, conn: u64) {
        self.with_client(id, |world, client| {
            client.lost(world, conn);
            client.go_on(world);
        });
    }

    /// A client's attempt to connect is over.
    pub fn client_dialed(&mut self, id: u32, node: NodeNumber) {
        self.with_client(id, |world, client| {
            client.dialed(world, node);
            client.go_on(world);
        });
    }
}

impl Client {
    fn go_on(&mut self, world: &mut World) {
        match &mut self.role {
            Role::Producer(producer) => {
                producer.go_on(world, &mut self.link, &mut self.leaders);
            }
            Role::Reader(reader) => reader.go_on(world, &mut self.link, &mut self.leaders),
            Role::Admin(admin) => admin.go_on(world, &mut self.link),
            Role::Operator(operator) => operator.go_on(world, &mut self.link),
            Role::Member(member) => member.go_on(world, &mut self.link, &mut self.leaders),
        }
    }
}

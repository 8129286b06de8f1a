//! Connecting to other brokers of the site, for shards that may not wait: a thread for each, for as
//! long as that takes.

use std::sync::Arc;
use std::thread;

use crate::ids::NodeId;
use crate::journal::disk::Disk;
use crate::runtime::shard_loop::{Inbox, Input};
use crate::runtime::site::handshake::{self, Credentials};
use crate::wire::peer::hello::Purpose;

/// Connects to a broker, proves who this is, and gives the socket to the shard; or tells it that
/// there is none.
pub fn dial<D>(
    credentials: Arc<Credentials>,
    node_id: NodeId,
    address: Option<String>,
    shard: Inbox<D>,
) where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    let answer = shard.clone();
    let run = move || {
        let socket = address.and_then(|address| {
            match handshake::dial(&address, &credentials, Purpose::Replica) {
                Ok((stream, identity)) if identity.voter.node_id == node_id => Some(stream),
                Ok((_, identity)) => {
                    log::warn!("node {} answers at {address}", identity.voter.node_id);
                    None
                }
                Err(why) => {
                    log::debug!("node {node_id} at {address}: {why}");
                    None
                }
            }
        });
        shard.give(Input::Dialed(node_id, socket));
    };
    if thread::Builder::new().name(format!("dial-{node_id}")).spawn(run).is_err() {
        answer.give(Input::Dialed(node_id, None));
    }
}

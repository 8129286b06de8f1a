//! What the control thread does for the sake of the other nodes, beside passing on what they say: it
//! learns where they are, lets boards in, and lets this one join or leave.
//!
//! **Invariant:** the control thread waits for none of it: what waits runs on a thread of its own, one
//! at a time, and its end is an event.

use std::sync::Arc;
use std::thread;

use crate::broker::front::ControlAsk;
use crate::broker::mail::RequestId;
use crate::broker::shard::Event;
use crate::controller::image::{BrokerImage, Image};
use crate::ids::{NodeId, Offset, Uuid};
use crate::journal::disk::Disk;
use crate::runtime::Outside;
use crate::runtime::clock;
use crate::runtime::control_loop::{ControlEvent, ControlLoop, Machine};
use crate::runtime::signals::Signal;
use crate::runtime::site::code::Code;
use crate::runtime::site::discover::{self, Advert};
use crate::runtime::site::file;
use crate::runtime::site::manage::{self, Managed, Own};
use crate::time::Now;
use crate::wire::manage_site::{ManageSiteRequest, SiteRequest};
use crate::wire::{ErrorCode, frame};

/// What is under way for the sake of other nodes.
pub struct Attending {
    /// What outlives a restart within the process.
    outside: Outside,
    /// What this node is.
    pub own: Own,
    /// The end of the metadata as of which addresses are known.
    pub learned_end: Option<Offset>,
    /// Whether something is done for the site that may wait.
    pub is_busy: bool,
    /// Whether an invitation is open, and was announced.
    pub is_announced: bool,
    /// The announcement, if it could be made.
    pub advert: Option<Advert>,
}

impl Attending {
    /// Nothing yet.
    pub fn new(outside: &Outside, own: &Own) -> Attending {
        Attending {
            outside: outside.clone(),
            own: own.clone(),
            learned_end: None,
            is_busy: false,
            is_announced: false,
            advert: None,
        }
    }
}

impl<D> ControlLoop<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// What concerns the other nodes, now and then.
    pub(in crate::runtime) fn attend(&mut self, now: Now) {
        let Machine::Member(site, links, _) = &mut self.machine else { return };
        let identity = site.identity();
        links.set_identity(identity);
        let end = Some(site.metadata_end());
        if self.attending.learned_end != end {
            self.attending.learned_end = end;
            let image = site.controller().image();
            links.learn(addresses_of(image));
            links.set_departed(image.departed());
        }
        links.dial(now.boot);
        site.set_sees_all(links.sees_all());
        self.invite(now);
        let Machine::Member(site, _, _) = &self.machine else { return };
        let identity = site.identity();
        let is_new =
            identity.cluster_id != self.attending.own.cluster_id || self.attending.own.founds;
        if identity.has_log
            && identity.cluster_id != Uuid::ZERO
            && is_new
            && !self.attending.is_busy
        {
            let (disk, dir) = (self.disk.clone(), self.attending.own.dir.clone());
            let cluster_id = identity.cluster_id;
            self.aside("settle", move || {
                let settled = manage::settle(&disk, &dir, cluster_id);
                ControlEvent::Settled(settled.map(|()| cluster_id))
            });
        }
    }

    /// While an invitation is open, whoever lets boards in knows the site, and this board can be found.
    fn invite(&mut self, now: Now) {
        let Machine::Member(site, _, _) = &self.machine else { return };
        if !self.attending.outside.pairing.is_open(now.boot) {
            (self.attending.is_announced, self.attending.advert) = (false, None);
            return;
        }
        let identity = site.identity();
        let known = addresses_of(site.controller().image()).into_iter().map(|(_, address)| address);
        let own = self.attending.own.address.clone();
        let peers = [own.clone()].into_iter().chain(known.filter(|address| *address != own));
        let described = identity.has_log.then(|| (identity.cluster_id, peers.collect()));
        self.attending.outside.pairing.describe(described, site.known_nodes());
        if !self.attending.is_announced {
            self.attending.is_announced = true;
            self.attending.advert =
                discover::advertise(self.attending.own.bound, &own, self.attending.own.node_id);
        }
    }

    /// Has something done that may wait; one thing at a time.
    pub(in crate::runtime) fn aside(
        &mut self,
        name: &str,
        work: impl FnOnce() -> ControlEvent<D> + Send + 'static,
    ) {
        let sender = self.sender.clone();
        let spawned = thread::Builder::new().name(name.into()).spawn(move || {
            let _ = sender.send(work());
        });
        self.attending.is_busy = spawned.is_ok();
    }

    /// Founds a site, lets a board in, or joins: answered by [`ControlEvent::Managed`].
    pub(in crate::runtime) fn manage(&mut self, ask: &ControlAsk) {
        let (request, own) = (ask.request, self.attending.own.clone());
        let pairing = Arc::clone(&self.attending.outside.pairing);
        let wanted = frame::decode::<ManageSiteRequest<'_>>(&ask.body).map(|one| one.request);
        let refuse = |text: &str| Managed::refused(ErrorCode::POLICY_VIOLATION, text);
        let managed = match (&self.machine, wanted) {
            (_, Err(_)) => Managed::refused(ErrorCode::INVALID_REQUEST, "the request is not read"),
            (_, Ok(_)) if self.attending.is_busy => refuse("another such command is under way"),
            (Machine::Member(site, _, _), Ok(SiteRequest::Init | SiteRequest::Invite)) => {
                let identity = site.identity();
                match identity.has_log {
                    true => manage::invite(&own, identity.cluster_id, &pairing),
                    false => refuse("this node has not found its site yet"),
                }
            }
            (Machine::Member(..), Ok(SiteRequest::Join { .. })) => {
                refuse("this node belongs to a site: `odradek cluster leave` takes it out of it")
            }
            (Machine::Alone(_), Ok(SiteRequest::Invite)) => {
                refuse("this node belongs to no site: `odradek cluster init` makes one")
            }
            (Machine::Alone(_), Ok(SiteRequest::Init)) => {
                self.aside("found", move || {
                    ControlEvent::Managed(request, manage::found(&own, &pairing))
                });
                return;
            }
            (Machine::Alone(control), Ok(SiteRequest::Join { code, address })) => {
                let topic_count = control.controller().image().topic_count();
                match Code::parse(code) {
                    _ if 0 < topic_count => refuse(
                        "this node has topics of its own: start it with an empty log dir, or begin \
                         the site with it (`odradek cluster init`) and let the others join",
                    ),
                    None => refuse("that is no pairing code; one has 16 letters and digits"),
                    Some(code) => {
                        let address = Some(address.to_owned()).filter(|one| !one.is_empty());
                        self.aside("join", move || {
                            ControlEvent::Managed(request, manage::join(&own, code, address))
                        });
                        return;
                    }
                }
            }
        };
        self.invite(clock::now());
        self.managed(request, managed);
    }

    pub(in crate::runtime) fn managed(&mut self, request: RequestId, managed: Managed) {
        let shard = &self.shards[usize::from(request.shard.0)];
        shard.send(Event::Controlled(request, managed.body));
        if let Some(signal) = managed.then {
            self.attending.outside.ask(signal);
        }
    }

    /// This node has left its site: the process ends, and does not come back to it.
    pub(in crate::runtime) fn depart(&mut self) {
        let (dir, outside) = (self.attending.own.dir.clone(), self.attending.outside.clone());
        let run = move || {
            if let Err(why) = file::leave(&dir) {
                log::error!(
                    "{}: that this node has left is not written down: {why}",
                    dir.display()
                );
            }
            log::info!("this node has left its site");
            outside.ask(Signal::Stop);
        };
        let _ = thread::Builder::new().name("depart".into()).spawn(run);
    }
}

/// Where the brokers of a site are reached by its other nodes.
fn addresses_of(image: &Image) -> Vec<(NodeId, String)> {
    let wire = |(node_id, broker): (NodeId, &BrokerImage)| {
        let (host, port) = broker.listener("wire")?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Some((node_id, format!("{host}:{port}")))
    };
    image.brokers().filter_map(wire).collect()
}

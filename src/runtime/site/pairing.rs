//! Letting a board in that has a pairing code, and being let in (`wire::peer::pair`).
//!
//! The code lives in the memory of the process that made it, for ten minutes, for one board, and for
//! five attempts. It is kept where a restart of the broker within its process leaves it.
//!
//! **Invariant:** who does not know the code learns neither it nor the secret, and who guesses has five
//! guesses of 2^80. A code that let a board in, is too old, or was guessed at too often, lets nobody in.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::{NodeId, Uuid};
use crate::runtime::boot::random;
use crate::runtime::clock;
use crate::runtime::site::code::{Code, Side};
use crate::runtime::site::handshake::{self, Credentials, HandshakeError};
use crate::time::Boot;
use crate::wire::frame;
use crate::wire::peer::PeerApiKey;
use crate::wire::peer::hello::{Met, PROOF_BYTES, PeerHello, PeerIdentity, PeerProof, Purpose};
use crate::wire::peer::pair::{Grant, PairGranted, PairOffer, PairRefusal};

/// How long a code is of use.
const CODE_MS: u64 = 600_000;

/// How often it may be tried.
const TRIES: u8 = 5;

/// Largest answer that holds a grant.
const GRANTED_BYTES_MAX: usize = 32 << 10;

struct Open {
    code: Code,
    until: Boot,
    tries_left: u8,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Why the last code is of no use any more.
    over: Option<PairRefusal>,
    /// Ids that a new board may not have.
    taken: BTreeSet<NodeId>,
    /// What a new board is told beside the secret; `None` before the site has begun.
    site: Option<(Uuid, Vec<String>)>,
}

/// The invitation of a process, if there is one.
#[derive(Default)]
pub struct Pairing {
    state: Mutex<State>,
}

impl Pairing {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is done under the lock cannot panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a code; the one before is of no use any more.
    pub fn invite(&self, now: Boot) -> Code {
        let code = Code::draw();
        let open = Open { code, until: now.plus_ms(CODE_MS), tries_left: TRIES };
        let mut state = self.state();
        (state.open, state.over) = (Some(open), None);
        code
    }

    /// Whether a board may be let in.
    pub fn is_open(&self, now: Boot) -> bool {
        self.state().open.as_ref().is_some_and(|open| now < open.until)
    }

    /// What a new board is told, as of now.
    pub fn describe(&self, site: Option<(Uuid, Vec<String>)>, taken: BTreeSet<NodeId>) {
        let mut state = self.state();
        (state.site, state.taken) = (site, taken);
    }

    /// The code, for a board that says it has it.
    fn admit(&self, now: Boot, node_id: NodeId) -> Result<Code, PairRefusal> {
        let mut state = self.state();
        if state.open.as_ref().is_some_and(|open| open.until <= now) {
            (state.open, state.over) = (None, Some(PairRefusal::Expired));
        }
        let Some(open) = &state.open else {
            return Err(state.over.unwrap_or(PairRefusal::NoCode));
        };
        let code = open.code;
        if state.site.is_none() {
            return Err(PairRefusal::NotReady);
        }
        if state.taken.contains(&node_id) {
            let free = (1..i32::MAX).map(NodeId).find(|id| !state.taken.contains(id));
            return Err(PairRefusal::NodeIdTaken { free: free.unwrap_or(NodeId::NONE) });
        }
        Ok(code)
    }

    /// Judges a proof, which is one attempt; what the board is told besides the secret.
    fn redeem(
        &self,
        now: Boot,
        code: Code,
        met: &Met,
        proof: &[u8; PROOF_BYTES],
    ) -> Result<(Uuid, Vec<String>), PairRefusal> {
        let state = &mut *self.state();
        let site = state.site.clone();
        let Some(open) = state.open.as_mut().filter(|open| open.code == code) else {
            return Err(state.over.unwrap_or(PairRefusal::NoCode));
        };
        if open.until <= now {
            (state.open, state.over) = (None, Some(PairRefusal::Expired));
            return Err(PairRefusal::Expired);
        }
        if !code.is_right(Side::Connects, met, proof) {
            open.tries_left -= 1;
            if open.tries_left == 0 {
                (state.open, state.over) = (None, Some(PairRefusal::Exhausted));
            }
            return Err(PairRefusal::WrongCode);
        }
        (state.open, state.over) = (None, Some(PairRefusal::Used));
        site.ok_or(PairRefusal::NotReady)
    }
}

/// Goes on with a board that knocked with a code; answers who that is.
pub fn answer(
    stream: &mut TcpStream,
    correlation_id: u32,
    hello: &PeerHello,
    credentials: &Credentials,
    pairing: &Pairing,
) -> Result<PeerIdentity, HandshakeError> {
    let PeerHello { purpose, identity: connects, nonce: connects_nonce } = *hello;
    let (answers, answers_nonce) = (credentials.identity(), random());
    let met = Met { purpose, connects, connects_nonce, answers, answers_nonce };
    let admitted = pairing.admit(clock::boot(), connects.voter.node_id);
    let offer = PairOffer {
        refusal: admitted.err(),
        identity: answers,
        nonce: answers_nonce,
        proof: admitted.map_or([0; PROOF_BYTES], |code| code.proof(Side::Answers, &met)),
    };
    handshake::respond(stream, correlation_id, &offer)?;
    let code = admitted.map_err(HandshakeError::Pairing)?;
    let (correlation_id, proof): (u32, PeerProof) =
        handshake::receive_ask(stream, PeerApiKey::Proof)?;
    let redeemed = pairing.redeem(clock::boot(), code, &met, &proof.proof);
    let sealed = redeemed.as_ref().map_or(Vec::new(), |(cluster_id, peers)| {
        let secret = credentials.secret().to_vec();
        let grant = Grant { secret, cluster_id: *cluster_id, peers: peers.clone() };
        code.seal(&met, &frame::encode_body(&grant))
    });
    let granted = PairGranted { refusal: redeemed.as_ref().err().copied(), sealed };
    handshake::respond(stream, correlation_id, &granted)?;
    redeemed.map(|_| connects).map_err(HandshakeError::Pairing)
}

/// Asks to be let in; answers what makes this node one of the site's.
pub fn join(address: &str, identity: PeerIdentity, code: Code) -> Result<Grant, HandshakeError> {
    let mut stream = handshake::connect(address)?;
    handshake::greet(&mut stream, identity)?;
    let connects_nonce = random();
    let hello = PeerHello { purpose: Purpose::Pair, identity, nonce: connects_nonce };
    handshake::ask(&mut stream, PeerApiKey::Hello as u8, &hello)?;
    let offer: PairOffer = handshake::response(&mut stream, GRANTED_BYTES_MAX)?;
    if let Some(refusal) = offer.refusal {
        return Err(HandshakeError::Pairing(refusal));
    }
    let met = Met {
        purpose: Purpose::Pair,
        connects: identity,
        connects_nonce,
        answers: offer.identity,
        answers_nonce: offer.nonce,
    };
    let knows_code = code.is_right(Side::Answers, &met, &offer.proof);
    // Whoever has another code is told by a proof that is wrong too, so that its tries are counted.
    let proof = PeerProof { proof: code.proof(Side::Connects, &met) };
    handshake::ask(&mut stream, PeerApiKey::Proof as u8, &proof)?;
    let granted: PairGranted = handshake::response(&mut stream, GRANTED_BYTES_MAX)?;
    if let Some(refusal) = granted.refusal {
        return Err(HandshakeError::Pairing(refusal));
    }
    let plain = code.open(&met, &granted.sealed).filter(|_| knows_code);
    let plain = plain.ok_or(HandshakeError::Pairing(PairRefusal::WrongCode))?;
    frame::decode(&plain).map_err(|_| HandshakeError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::quorum::VoterId;

    fn identity(node: i32) -> PeerIdentity {
        PeerIdentity {
            cluster_id: Uuid::ZERO,
            voter: VoterId { node_id: NodeId(node), incarnation: 1 },
            has_log: false,
            roles: 3,
            process: Uuid([node as u8; 16]),
        }
    }

    /// What two have met, in an exchange of this number.
    fn met(exchange: u8) -> Met {
        Met {
            purpose: Purpose::Pair,
            connects: identity(2),
            connects_nonce: [exchange; 32],
            answers: identity(1),
            answers_nonce: [exchange + 100; 32],
        }
    }

    fn site() -> (Uuid, Vec<String>) {
        (Uuid([7; 16]), vec!["10.0.0.1:7092".to_owned()])
    }

    fn invited(now: Boot) -> (Pairing, Code) {
        let pairing = Pairing::default();
        pairing.describe(Some(site()), [NodeId(1), NodeId(3)].into());
        let code = pairing.invite(now);
        (pairing, code)
    }

    #[test]
    fn a_code_lets_one_board_in_and_no_second() {
        let now = Boot(1_000_000);
        let nobody = Pairing::default();
        assert_eq!(nobody.admit(now, NodeId(2)).err(), Some(PairRefusal::NoCode));
        let early = nobody.invite(now);
        assert_eq!(nobody.admit(now, NodeId(2)).err(), Some(PairRefusal::NotReady));
        let (pairing, code) = invited(now);
        assert!(early != code);
        let taken = PairRefusal::NodeIdTaken { free: NodeId(2) };
        assert_eq!(pairing.admit(now, NodeId(3)).err(), Some(taken));
        let proof = code.proof(Side::Connects, &met(1));
        // A proof that was overheard is of another exchange.
        assert_eq!(pairing.redeem(now, code, &met(2), &proof), Err(PairRefusal::WrongCode));
        assert_eq!(pairing.redeem(now, code, &met(1), &proof), Ok(site()));
        assert_eq!(pairing.redeem(now, code, &met(1), &proof), Err(PairRefusal::Used));
        assert_eq!(pairing.admit(now, NodeId(2)).err(), Some(PairRefusal::Used));
        let again = pairing.invite(now);
        assert!(pairing.admit(now, NodeId(2)).is_ok_and(|code| code == again));
    }

    #[test]
    fn a_code_is_of_use_for_ten_minutes_and_five_tries() {
        let now = Boot(1_000_000);
        let (pairing, code) = invited(now);
        let late = now.plus_ms(600_000);
        let proof = code.proof(Side::Connects, &met(1));
        assert!(pairing.is_open(now.plus_ms(599_999)) && !pairing.is_open(late));
        assert_eq!(pairing.redeem(late, code, &met(1), &proof), Err(PairRefusal::Expired));
        assert_eq!(pairing.admit(late, NodeId(2)).err(), Some(PairRefusal::Expired));
        let (pairing, code) = invited(now);
        for _ in 0..5 {
            let wrong = pairing.redeem(now, code, &met(1), &[0; PROOF_BYTES]);
            assert_eq!(wrong, Err(PairRefusal::WrongCode));
        }
        assert_eq!(pairing.redeem(now, code, &met(1), &proof), Err(PairRefusal::Exhausted));
        assert_eq!(pairing.admit(now, NodeId(2)).err(), Some(PairRefusal::Exhausted));
    }
}

//! Pairing codes: 80 bits in Crockford's base 32, such as `7K3Q-0XZ9-M2WD-R5TB`, and what follows from
//! them (`wire::peer::pair`).

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::runtime::boot::random;
use crate::wire::frame;
use crate::wire::peer::hello::{Met, PROOF_BYTES};
use crate::wire::peer::pair::CODE_BYTES;

/// Crockford's digits: no I, L, O and U, which are read as something else.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Digits between two dashes.
const GROUP: usize = 4;

/// A pairing code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code([u8; CODE_BYTES]);

impl Code {
    /// One that nobody can guess.
    pub fn draw() -> Code {
        Code(random())
    }

    /// Reads a code as somebody typed it.
    pub fn parse(text: &str) -> Option<Code> {
        let mut bits: u128 = 0;
        let mut count = 0;
        for byte in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let digit = match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                digit => digit,
            };
            let value = DIGITS.iter().position(|known| *known == digit)?;
            bits = (bits << 5) | value as u128;
            count += 1;
            if CODE_BYTES * 8 < count * 5 {
                return None;
            }
        }
        let bytes = bits.to_be_bytes();
        let code = bytes.last_chunk().expect("80 of 128 bits");
        (count * 5 == CODE_BYTES * 8).then_some(Code(*code))
    }

    /// One of the keys that follow from the code where two have met.
    fn key(&self, what: &[u8], met: &Met) -> [u8; 32] {
        let mut extract = mac(&[met.connects_nonce, met.answers_nonce].concat());
        extract.update(&self.0);
        let mut expand = mac(&extract.finalize().into_bytes());
        expand.update(b"odradek pair 0 ");
        expand.update(what);
        expand.update(&[1]);
        expand.finalize().into_bytes().into()
    }

    fn proof_of(&self, what: &[u8], met: &Met) -> Hmac<Sha256> {
        let mut proof = mac(&self.key(what, met));
        proof.update(&frame::encode_body(met));
        proof
    }

    /// What proves that one side knows the code.
    pub fn proof(&self, who: Side, met: &Met) -> [u8; PROOF_BYTES] {
        self.proof_of(who.name(), met).finalize().into_bytes().into()
    }

    /// Compared without telling by its time how much of it is right.
    pub fn is_right(&self, who: Side, met: &Met, proof: &[u8; PROOF_BYTES]) -> bool {
        self.proof_of(who.name(), met).verify_slice(proof).is_ok()
    }

    /// Seals what only the other side can open.
    pub fn seal(&self, met: &Met, plain: &[u8]) -> Vec<u8> {
        let context = frame::encode_body(met);
        let payload = Payload { msg: plain, aad: &context };
        self.cipher(met).encrypt(&Nonce::default(), payload).expect("it is short")
    }

    /// Opens it; `None` when somebody changed it on the way.
    pub fn open(&self, met: &Met, sealed: &[u8]) -> Option<Vec<u8>> {
        let context = frame::encode_body(met);
        let payload = Payload { msg: sealed, aad: &context };
        self.cipher(met).decrypt(&Nonce::default(), payload).ok()
    }

    /// The key is of this exchange alone, so that one nonce is enough.
    fn cipher(&self, met: &Met) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&self.key(b"seal", met).into())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut wide = [0; 16];
        wide[16 - CODE_BYTES..].copy_from_slice(&self.0);
        let bits = u128::from_be_bytes(wide);
        let count = CODE_BYTES * 8 / 5;
        for place in 0..count {
            if 0 < place && place % GROUP == 0 {
                f.write_str("-")?;
            }
            let digit = (bits >> (5 * (count - 1 - place))) & 31;
            write!(f, "{}", char::from(DIGITS[digit as usize]))?;
        }
        Ok(())
    }
}

/// Who proves something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The board that wants to be let in.
    Connects,
    /// The board that lets it in.
    Answers,
}

impl Side {
    fn name(self) -> &'static [u8] {
        match self {
            Side::Connects => b"connect",
            Side::Answers => b"answer",
        }
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, Uuid};
    use crate::wire::peer::hello::{PeerIdentity, Purpose};
    use crate::wire::quorum::VoterId;

    fn met(nonce: u8) -> Met {
        let identity = |node: i32| PeerIdentity {
            cluster_id: Uuid::ZERO,
            voter: VoterId { node_id: NodeId(node), incarnation: 1 },
            has_log: false,
            roles: 3,
            process: Uuid([node as u8; 16]),
        };
        Met {
            purpose: Purpose::Pair,
            connects: identity(2),
            connects_nonce: [nonce; 32],
            answers: identity(1),
            answers_nonce: [8; 32],
        }
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = Code([0xff, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1]);
        let text = code.to_string();
        assert_eq!(text, "ZW01-4D2P-F2DB-SQQH");
        for typed in [text.as_str(), "zw014d2pf2dbsqqh", "ZWOL 4D2P F2DB SQQH"] {
            assert_eq!(Code::parse(typed).map(|code| code.to_string()), Some(text.clone()));
        }
        for wrong in ["", "ZW01-4D2P-F2DB-SQQ", "ZW01-4D2P-F2DB-SQQHH", "ZW01-4D2P-F2DB-SQQU", "é"]
        {
            assert!(Code::parse(wrong).is_none(), "{wrong}");
        }
        let drawn = Code::draw();
        assert!(Code::parse(&drawn.to_string()) == Some(drawn));
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_code_in_the_same_exchange_only() {
        let (code, other) = (Code([7; 10]), Code([8; 10]));
        let sealed = code.seal(&met(1), b"the secret");
        assert!(!sealed.windows(10).any(|window| window == b"the secret"));
        assert_eq!(code.open(&met(1), &sealed).as_deref(), Some(&b"the secret"[..]));
        assert_eq!(code.open(&met(2), &sealed), None, "replayed");
        assert_eq!(other.open(&met(1), &sealed), None);
        let mut changed = sealed.clone();
        changed[0] ^= 1;
        assert_eq!(code.open(&met(1), &changed), None);
        let proof = code.proof(Side::Connects, &met(1));
        assert!(code.is_right(Side::Connects, &met(1), &proof));
        assert!(!code.is_right(Side::Answers, &met(1), &proof), "reflected");
        assert!(!code.is_right(Side::Connects, &met(2), &proof), "replayed");
        assert!(!other.is_right(Side::Connects, &met(1), &proof));
    }
}

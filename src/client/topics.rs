//! The topics a producer writes to, and what it knows of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::client::cluster::TopicInfo;
use crate::client::partitioner::Sticky;

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub name: Arc<str>,
    pub info: Option<TopicInfo>,
    /// Why the last question had no answer.
    pub error: Option<ClientError>,
    /// When it was last answered or refused.
    pub asked: Option<Instant>,
    /// Whether someone waits for a new answer.
    pub is_wanted: bool,
    pub sticky: Sticky,
}

/// All topics so far; their places never change.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: Vec<Topic>,
    places: BTreeMap<Arc<str>, usize>,
}

impl Topics {
    /// The place of a topic, which is made if it is new.
    pub fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let name: Arc<str> = Arc::from(name);
        let place = self.topics.len();
        self.places.insert(Arc::clone(&name), place);
        self.topics.push(Topic {
            name,
            info: None,
            error: None,
            asked: None,
            is_wanted: true,
            sticky: Sticky::default(),
        });
        place
    }

    /// The name of the topic at this place, if there is one.
    pub fn name(&self, place: usize) -> Option<Arc<str>> {
        self.topics.get(place).map(|topic| Arc::clone(&topic.name))
    }

    pub fn at(&self, place: usize) -> &Topic {
        &self.topics[place]
    }

    pub fn at_mut(&mut self, place: usize) -> &mut Topic {
        &mut self.topics[place]
    }

    /// Topics to ask for now, and when to look again.
    pub fn due(
        &self,
        now: Instant,
        pause: Duration,
        age_max: Duration,
    ) -> (Vec<usize>, Option<Instant>) {
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for (place, topic) in self.topics.iter().enumerate() {
            let at = match (topic.asked, topic.is_wanted, &topic.info) {
                (None, true, _) => Some(now),
                (Some(asked), true, _) => Some(asked + pause),
                (Some(asked), false, Some(_)) => Some(asked + age_max),
                (_, false, _) => None,
            };
            match at {
                Some(at) if at <= now => due.push(place),
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        (due, next)
    }

    /// Takes an answer to a question for `places`.
    pub fn answer(
        &mut self,
        now: Instant,
        places: &[usize],
        answer: Result<Vec<Result<TopicInfo, ClientError>>, ClientError>,
    ) {
        let mut answers = match answer {
            Ok(answers) if answers.len() == places.len() => Ok(answers.into_iter()),
            Ok(_) => Err(ClientError::Protocol(crate::wire::FrameError::Malformed)),
            Err(error) => Err(error),
        };
        for place in places {
            let topic = &mut self.topics[*place];
            topic.asked = Some(now);
            let answer = match &mut answers {
                Ok(answers) => answers.next().expect("as many as places"),
                Err(error) => Err(error.clone()),
            };
            match answer {
                Ok(mut info) => {
                    if let Some(before) = topic.info.take() {
                        info.keep_newer(before);
                    }
                    topic.info = Some(info);
                    topic.error = None;
                }
                Err(error) => topic.error = Some(error),
            }
            // Whoever is not content with the answer asks again, after a pause.
            topic.is_wanted = false;
        }
    }
}

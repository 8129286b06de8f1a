//! Configuration of topics, groups and brokers, as it is changed at run time.
//!
//! Reference: semantics.md §3; Kafka's `ConfigurationControlManager` and `GroupConfig`.

use super::topics::unknown_topic;
use super::{Controller, Outcome, Refusal, Settings, Verdict};
use crate::controller::change::Change;
use crate::controller::image::GroupConfigs;
use crate::ids::{NodeId, TopicId};
use crate::limits::{CONFIGURED_GROUPS_MAX, GROUP_TEXT_BYTES_MAX, TEXT_CHARS_MAX};
use crate::topic_config::{TopicConfig, TopicConfigError};
use crate::wire::configs::{ConfigChange, ConfigResource, IncrementalAlterConfigsRequest};
use crate::wire::{ErrorCode, TopicRef};

/// What `kafka-reassign-partitions` sets or deletes beside `follower.` and
/// `leader.replication.throttled.rate`. Those bound the copying here, and of all replicas that are
/// not in sync; these are taken and change nothing.
const OF_MOVES: [&str; 3] = [
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// What a request has changed so far, so that its later resources see its earlier ones.
struct Claims {
    /// Groups that had no configuration.
    fresh_count: usize,
    /// What is set for all brokers, and for this one.
    of_all: Settings,
    of_this: Settings,
}

impl Controller {
    pub(super) fn alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest<'_>,
        asker: NodeId,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let settings = |node_id| {
            let configs = self.image.broker_configs(node_id);
            configs.map(|(key, value)| (key.into(), value.into())).collect()
        };
        let node_id = Some(asker);
        let mut claims =
            Claims { fresh_count: 0, of_all: settings(None), of_this: settings(node_id) };
        for alter in &request.resources {
            let altered = match alter.resource {
                ConfigResource::Topic(name) => self.alter_topic(name, &alter.changes),
                ConfigResource::Group(id) => self.alter_group(id, &alter.changes, &mut claims),
                ConfigResource::Broker => self.alter_broker(node_id, &alter.changes, &mut claims),
                ConfigResource::Brokers => self.alter_broker(None, &alter.changes, &mut claims),
            };
            match altered {
                Ok((topic_id, mut changes)) => {
                    outcome.changes.append(&mut changes);
                    outcome.verdicts.push(Verdict::accepted(topic_id, -1, -1));
                }
                Err(verdict) => outcome.verdicts.push(verdict),
            }
        }
        if request.validate_only {
            outcome.changes.clear();
        }
        outcome
    }

    fn alter_topic(
        &self,
        name: &str,
        asked: &[ConfigChange<'_>],
    ) -> Result<(TopicId, Vec<Change>), Verdict> {
        let topic = TopicRef::Name(name);
        let (topic_id, image) = self.image.find(topic).ok_or_else(|| unknown_topic(topic))?;
        let mut config = image.effective(&self.config.topic_defaults);
        let mut changes = Vec::new();
        for change in asked {
            let key = change.key();
            if OF_MOVES.contains(&key) {
                continue;
            }
            let value = match *change {
                ConfigChange::Set { value, .. } => Some(value.to_owned()),
                ConfigChange::Delete { .. } => None,
                ConfigChange::Append { value, .. } => Some(listed(&config, key, value, true)?),
                ConfigChange::Subtract { value, .. } => Some(listed(&config, key, value, false)?),
            };
            check_change(&mut config, key, value.as_deref())?;
            let (key, value) = (key.into(), value.map(String::into_boxed_str));
            changes.push(Change::Config { topic_id, key, value });
        }
        Ok((topic_id, changes))
    }

    fn alter_broker(
        &self,
        node_id: Option<NodeId>,
        asked: &[ConfigChange<'_>],
        claims: &mut Claims,
    ) -> Result<(TopicId, Vec<Change>), Verdict> {
        let Some(keys) = &self.broker_keys else {
            let message = "the broker's configuration is its file: change it there, send SIGHUP";
            return Err(Verdict::refused(ErrorCode::INVALID_REQUEST, message));
        };
        let refused = |why: Refusal| Verdict::refused(why.error, why.message);
        let (mut of_all, mut of_this) = (claims.of_all.clone(), claims.of_this.clone());
        let mut changes = Vec::new();
        for change in asked {
            let key = change.key();
            if OF_MOVES.contains(&key) {
                continue;
            }
            keys.judge(key, node_id.is_none()).map_err(refused)?;
            let value = match *change {
                ConfigChange::Set { value, .. } => Some(value.to_owned()),
                ConfigChange::Delete { .. } => None,
                ConfigChange::Append { value, .. } | ConfigChange::Subtract { value, .. } => {
                    let is_append = matches!(change, ConfigChange::Append { .. });
                    let nothing = Settings::new();
                    let of_this = if node_id.is_none() { &nothing } else { &of_this };
                    let before = keys.list(&of_all, of_this, key).ok_or_else(|| no_list(key))?;
                    Some(with_words(&before, value, is_append))
                }
            };
            if value.as_ref().is_some_and(|value| TEXT_CHARS_MAX < value.len()) {
                let message = format!("`{key}`: the value has more than {TEXT_CHARS_MAX} bytes");
                return Err(Verdict::refused(ErrorCode::INVALID_CONFIG, message));
            }
            let own = if node_id.is_none() { &mut of_all } else { &mut of_this };
            let (key, value): (Box<str>, _) = (key.into(), value.map(String::into_boxed_str));
            match &value {
                Some(value) => own.insert(key.clone(), value.clone()),
                None => own.remove(&key),
            };
            changes.push(Change::BrokerConfig { node_id, key, value });
        }
        keys.check(&of_all, &of_this).map_err(refused)?;
        (claims.of_all, claims.of_this) = (of_all, of_this);
        Ok((TopicId::default(), changes))
    }

    fn alter_group(
        &self,
        group_id: &str,
        asked: &[ConfigChange<'_>],
        claims: &mut Claims,
    ) -> Result<(TopicId, Vec<Change>), Verdict> {
        let is_legal = group_id.len() <= GROUP_TEXT_BYTES_MAX
            && !group_id.is_empty()
            && !group_id.chars().any(char::is_control);
        if !is_legal {
            let message = "a group has a name, without control characters";
            return Err(Verdict::refused(ErrorCode::INVALID_REQUEST, message));
        }
        let known = self.image.group_configs(group_id);
        let mut own = known.map(GroupConfigs::overrides).unwrap_or_default();
        let mut changes = Vec::new();
        for change in asked {
            let key = change.key();
            let value = match *change {
                ConfigChange::Set { value, .. } => Some(value),
                ConfigChange::Delete { .. } => None,
                ConfigChange::Append { .. } | ConfigChange::Subtract { .. } => {
                    return Err(no_list(key));
                }
            };
            own.set(key, value).map_err(illegal)?;
            let (group_id, key, value) = (group_id.into(), key.into(), value.map(Into::into));
            changes.push(Change::GroupConfig { group_id, key, value });
        }
        let config = own.over(self.config.group_defaults);
        config.check(&self.config.group_bounds).map_err(illegal)?;
        if known.is_none() && !own.is_empty() {
            if CONFIGURED_GROUPS_MAX <= self.image.configured_group_count() + claims.fresh_count {
                let message =
                    format!("{CONFIGURED_GROUPS_MAX} groups have a configuration, no more may");
                return Err(Verdict::refused(ErrorCode::POLICY_VIOLATION, message));
            }
            claims.fresh_count += 1;
        }
        Ok((TopicId::default(), changes))
    }
}

/// The value of a list with some words more, or some fewer.
fn listed(
    config: &TopicConfig,
    key: &str,
    value: &str,
    is_append: bool,
) -> Result<String, Verdict> {
    if !TopicConfig::is_list(key) {
        return Err(no_list(key));
    }
    let listed = with_words(&config.text(key).unwrap_or_default(), value, is_append);
    // As it is shown, however often a word was given.
    let mut config = config.clone();
    config.set(key, &listed).map_err(illegal)?;
    Ok(config.text(key).unwrap_or(listed))
}

/// A list with the words of `value` more, or without them.
fn with_words(before: &str, value: &str, is_append: bool) -> String {
    let asked: Vec<&str> = value.split(',').map(str::trim).collect();
    let kept = before.split(',').filter(|word| !word.is_empty() && !asked.contains(word));
    let added = asked.iter().copied().filter(|_| is_append);
    kept.chain(added).collect::<Vec<&str>>().join(",")
}

fn no_list(key: &str) -> Verdict {
    let shown: String = key.chars().filter(|char| !char.is_control()).take(64).collect();
    let message = format!("`{shown}` is no list that could be added to or taken from");
    Verdict::refused(ErrorCode::INVALID_CONFIG, message)
}

fn check_change(config: &mut TopicConfig, key: &str, value: Option<&str>) -> Result<(), Verdict> {
    let checked = match value {
        Some(value) => config.set(key, value),
        // A deleted key must still be a key: its present value is legal for it.
        None => config.set(key, &config.text(key).unwrap_or_default()),
    };
    checked.map_err(illegal)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn illegal(why: TopicConfigError) -> Verdict {
    Verdict::refused(ErrorCode::INVALID_CONFIG, why.to_string())
}

//! Configuration of topics and groups, as it is changed at run time.
//!
//! Reference: semantics.md §3; Kafka's `ConfigurationControlManager` and `GroupConfig`.

use super::topics::unknown_topic;
use super::{Controller, Outcome, Verdict};
use crate::controller::change::Change;
use crate::controller::image::GroupConfigs;
use crate::ids::TopicId;
use crate::limits::{CONFIGURED_GROUPS_MAX, GROUP_TEXT_BYTES_MAX};
use crate::topic_config::{TopicConfig, TopicConfigError};
use crate::wire::configs::{
    AlterResource, ConfigChange, ConfigResource, IncrementalAlterConfigsRequest,
};
use crate::wire::{ErrorCode, TopicRef};

impl Controller {
    pub(super) fn alter_configs(&self, request: &IncrementalAlterConfigsRequest<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        // Several resources of one request may be groups that had no configuration.
        let mut fresh_count = 0;
        for alter in &request.resources {
            let altered = match alter.resource {
                ConfigResource::Topic(name) => self.alter_topic(name, &alter.changes),
                ConfigResource::Group(id) => self.alter_group(id, alter, &mut fresh_count),
                ConfigResource::Broker => {
                    let message =
                        "the broker's configuration is its file: change it there, send SIGHUP";
                    Err(Verdict::refused(ErrorCode::INVALID_REQUEST, message))
                }
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
            let (key, value) = match *change {
                ConfigChange::Set { key, value } => (key, Some(value.to_owned())),
                ConfigChange::Delete { key } => (key, None),
                ConfigChange::Append { key, value } => {
                    (key, Some(listed(&config, key, value, true)?))
                }
                ConfigChange::Subtract { key, value } => {
                    (key, Some(listed(&config, key, value, false)?))
                }
            };
            check_change(&mut config, key, value.as_deref())?;
            let (key, value) = (key.into(), value.map(String::into_boxed_str));
            changes.push(Change::Config { topic_id, key, value });
        }
        Ok((topic_id, changes))
    }

    fn alter_group(
        &self,
        group_id: &str,
        alter: &AlterResource<'_>,
        fresh_count: &mut usize,
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
        for change in &alter.changes {
            let (key, value) = match *change {
                ConfigChange::Set { key, value } => (key, Some(value)),
                ConfigChange::Delete { key } => (key, None),
                ConfigChange::Append { key, .. } | ConfigChange::Subtract { key, .. } => {
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
            if CONFIGURED_GROUPS_MAX <= self.image.configured_group_count() + *fresh_count {
                let message =
                    format!("{CONFIGURED_GROUPS_MAX} groups have a configuration, no more may");
                return Err(Verdict::refused(ErrorCode::POLICY_VIOLATION, message));
            }
            *fresh_count += 1;
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
    let before = config.text(key).unwrap_or_default();
    let asked: Vec<&str> = value.split(',').map(str::trim).collect();
    let mut words: Vec<&str> = before.split(',').filter(|word| !asked.contains(word)).collect();
    if is_append {
        words.extend(asked);
    }
    Ok(words.join(","))
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

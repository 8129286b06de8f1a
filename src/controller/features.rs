//! The feature level of a site: what its members agreed to write and to say (design.md §2).
//!
//! Software that understands more is started board by board, and goes on writing what all
//! understand; when the last board runs it, the level is raised by command. It never falls: what was
//! written at a level is not understood below it.
//!
//! **Invariant:** every registered broker understands the level; who does not may not register.

use crate::controller::change::Change;
use crate::controller::{Controller, FEATURE_LEVEL, FEATURE_LEVEL_MIN, Outcome, Verdict};
use crate::ids::TopicId;
use crate::wire::ErrorCode;
use crate::wire::update_features::UpdateFeaturesRequest;

/// What the level is called where Kafka's tools name their features.
pub const FEATURE_NAME: &str = "odradek.level";

impl Controller {
    /// The highest level that every broker of the site understands.
    pub fn feature_level_max(&self) -> u16 {
        let levels = self.image.brokers().map(|(_, broker)| broker.feature_level);
        levels.min().unwrap_or(FEATURE_LEVEL).min(FEATURE_LEVEL)
    }

    pub(super) fn update_features(&self, request: UpdateFeaturesRequest) -> Outcome {
        let wanted = request.feature_level;
        let present = self.image.feature_level();
        let refused = |message: String| Outcome {
            changes: Vec::new(),
            verdicts: vec![Verdict::refused(ErrorCode::INVALID_UPDATE_VERSION, message)],
        };
        if wanted < FEATURE_LEVEL_MIN || wanted < present {
            return refused(format!("the level is {present}, and never falls"));
        }
        let level_max = self.feature_level_max();
        if level_max < wanted {
            let behind = self.image.brokers().find(|(_, broker)| broker.feature_level < wanted);
            return refused(match behind {
                Some((node_id, broker)) => {
                    format!("broker {node_id} understands level {} at most", broker.feature_level)
                }
                None => format!("this software understands level {FEATURE_LEVEL} at most"),
            });
        }
        let mut changes = Vec::new();
        if wanted != present && !request.validate_only {
            changes.push(Change::FeatureLevel { feature_level: wanted });
        }
        Outcome { changes, verdicts: vec![Verdict::accepted(TopicId::default(), -1, -1)] }
    }
}

//! Tests of the coordinator's bounds; what it does is shown by `tests/transcripts/group.txt`.

//! Transcripts: commands and their literal outcomes (style.md §6).

#[path = "support/transcript.rs"]
mod transcript;
#[path = "support/wire_examples.rs"]
mod wire_examples;

#[test]
fn every_message_of_the_wire_has_these_bytes() {
    let mut seen = Vec::new();
    transcript::check("wire.txt", |command| {
        seen.push(command.to_owned());
        let examples = wire_examples::all();
        let example = examples.iter().find(|example| example.name == command);
        let example = example.expect("the transcript names an example");
        let kept = wire_examples::keep(&example.frame[4..]);
        assert_eq!((example.again)(kept).as_ref(), Ok(&example.frame), "{command}");
        transcript::hex(&example.frame)
    });
    for example in wire_examples::all() {
        assert!(seen.iter().any(|name| name == example.name), "{} is not shown", example.name);
    }
}

//! A recording, replayed and put in words. Each line is written again as something that is read as the same.

use pgvrrp::recording::{Header, Pass, Step, brief_input, brief_output, replay};

pub fn run(bytes: &[u8]) {
    let each = |step: Step<'_>| match step {
        Step::Start(header) => {
            let line = serde_json::to_string(header).expect("it was read from JSON");
            let again: Header = serde_json::from_str(&line).expect("what is written can be read");
            assert_eq!(format!("{again:?}"), format!("{header:?}"));
        }
        Step::Pass { pass, .. } => {
            let line = serde_json::to_string(pass).expect("it was read from JSON");
            assert_eq!(serde_json::from_str::<Pass>(&line).expect("what is written can be read"), *pass);
            assert!(!brief_input(&pass.input).is_empty());
            assert!(pass.outputs.iter().all(|output| !brief_output(output).is_empty()));
        }
    };
    if let Err(failure) = replay(bytes, each) {
        assert!(!failure.to_string().is_empty());
    }
}

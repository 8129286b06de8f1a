//! Apache Kafka's tools, one after another in one Java machine: to start one for each takes seconds,
//! and a site is asked many things. `Tools.java` calls what their scripts call.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::broker::Broker;
use crate::interop::clients::door;
use crate::peers;

/// A machine that runs them.
pub struct Tools {
    child: Child,
    /// Closed when it is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Tools {
    /// Starts it, where there is a Java that compiles.
    pub fn start(jars: &Path) -> Option<Tools> {
        if !peers::has_program("javac", "-version") {
            peers::missing("javac 17", "apt-get install default-jdk-headless");
            return None;
        }
        let mut command = Command::new("timeout");
        command.args(["300", "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(format!("{}/*", jars.display()));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/Tools.java"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("java is there");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Some(Tools { child, input, output })
    }

    /// What a tool ended with, and all that it said.
    pub fn try_run(&mut self, class: &str, at: &Broker, words: &[&str]) -> (i32, String) {
        // One of them has a command before its options.
        let (verb, words) = match words.split_first() {
            Some((verb, rest)) if !verb.starts_with("--") => (Some(*verb), rest),
            _ => (None, words),
        };
        let class = format!("org.apache.kafka.tools.{class}");
        let mut line: Vec<&str> = vec![&class];
        // The quorum's and the features' take the server before the command, the cluster's behind it.
        let server = ["--bootstrap-server", door(at)];
        if class.ends_with("ClusterTool") {
            line.extend(verb);
            line.extend(server);
        } else {
            line.extend(server);
            line.extend(verb);
        }
        line.extend(words);
        let input = self.input.as_mut().expect("piped");
        writeln!(input, "{}", line.join("\t")).expect("the machine reads");
        let mut head = String::new();
        self.output.read_line(&mut head).expect("the machine answers");
        let (code, bytes) = head.trim().split_once(' ').expect("the machine lives");
        let mut said = vec![0; bytes.parse().expect("a count")];
        self.output.read_exact(&mut said).expect("as many as were announced");
        (code.parse().expect("a code"), String::from_utf8_lossy(&said).into_owned())
    }

    /// What a tool said that succeeded.
    pub fn run(&mut self, class: &str, at: &Broker, words: &[&str]) -> String {
        let (code, said) = self.try_run(class, at, words);
        assert_eq!(code, 0, "{class} {words:?}: {said}");
        said
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

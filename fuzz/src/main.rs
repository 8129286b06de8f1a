//! Runs the targets on stable: a seeded mutator, a corpus that grows by what inputs reach, and a
//! watch on time and memory. Two targets run at a time where there are two cores.
//!
//! One line a target on stdout; what is found goes to stderr with all it takes to see it again.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use odradek_fuzz::mutate::{Random, mutate, shrink};
use odradek_fuzz::{Target, memory, note, targets};

/// Inputs that are kept for a target.
const CORPUS_MAX: usize = 4096;

/// An execution that takes longer is a finding: the largest input is 16 KiB.
const EXECUTION_MAX: Duration = Duration::from_secs(10);

thread_local! {
    /// Where this thread's last panic was.
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the command line says.
struct Options {
    seconds: f64,
    executions: Option<u64>,
    seed: u64,
    replay: Option<(String, Vec<u8>)>,
    write_seeds: Option<(PathBuf, String)>,
    /// Beginnings of names; none for all.
    names: Vec<String>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    let mut targets = targets::all();
    if let Some((name, bytes)) = &options.replay {
        return replay(&targets, name, bytes);
    }
    if let Some((folder, name)) = &options.write_seeds {
        return write_seeds(&targets, folder, name);
    }
    let is_asked = |target: &Target| options.names.iter().any(|name| target.name.starts_with(name));
    targets.retain(|target| options.names.is_empty() || is_asked(target));
    if targets.is_empty() {
        eprintln!("no target has such a name");
        return ExitCode::from(2);
    }
    // Panics are findings, and are printed with the input that led to them.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        PANICKED_AT.replace(place.unwrap_or_default());
    }));
    run_all(&targets, &options)
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut arguments = arguments;
    let mut options = Options {
        seconds: 3.0,
        executions: None,
        seed: 1,
        replay: None,
        write_seeds: None,
        names: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let bad = |text: &str| format!("{argument}: {text} is no number");
        match &*argument {
            "--seconds" => {
                let text = value()?;
                options.seconds = text.parse().map_err(|_| bad(&text))?;
            }
            "--executions" => {
                let text = value()?;
                options.executions = Some(text.parse().map_err(|_| bad(&text))?);
            }
            "--seed" => {
                let text = value()?;
                options.seed = text.parse().map_err(|_| bad(&text))?;
            }
            "--replay" => {
                let (name, hex) = (value()?, value()?);
                options.replay = Some((name, bytes_of(&hex).ok_or(format!("{hex}: no hex"))?));
            }
            "--write-seeds" => options.write_seeds = Some((value()?.into(), value()?)),
            _ if argument.starts_with('-') => return Err(format!("{argument}: no such option")),
            _ => options.names.push(argument),
        }
    }
    Ok(options)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if hex.len() % 2 != 0 || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn find<'t>(targets: &'t [Target], name: &str) -> Option<&'t Target> {
    let found = targets.iter().find(|target| target.name == name);
    if found.is_none() {
        let names: Vec<&str> = targets.iter().map(|target| &*target.name).collect();
        eprintln!("no target {name}; there are\n{}", names.join("\n"));
    }
    found
}

/// Runs one input with nothing in the way of a debugger or a backtrace.
fn replay(targets: &[Target], name: &str, bytes: &[u8]) -> ExitCode {
    let Some(target) = find(targets, name) else { return ExitCode::from(2) };
    let ((), peak) = memory::peak(|| (target.run)(bytes));
    println!("{name}: nothing is wrong; {peak} bytes were allocated at a time");
    ExitCode::SUCCESS
}

fn write_seeds(targets: &[Target], folder: &std::path::Path, name: &str) -> ExitCode {
    let Some(target) = find(targets, name) else { return ExitCode::from(2) };
    let write = || {
        std::fs::create_dir_all(folder)?;
        for (number, seed) in target.seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
        Ok::<(), std::io::Error>(())
    };
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// What a thread is at, for the watch.
struct Current {
    name: String,
    number: u64,
    since: Instant,
    bytes: Vec<u8>,
}

fn run_all(targets: &[Target], options: &Options) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    let next = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let executions = Mutex::new(0_u64);
    let found = AtomicUsize::new(0);
    let current: Vec<Mutex<Option<Current>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&current, options.seed, &is_over));
        let workers: Vec<_> = current
            .iter()
            .map(|current| {
                scope.spawn(|| {
                    while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let outcome = run_one(target, options, current);
                        *executions.lock().expect("no panic here") += outcome.executions;
                        found.fetch_add(usize::from(outcome.is_found), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("panics of targets are caught");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (found, executions) = (found.into_inner(), executions.into_inner().expect("no panic here"));
    println!(
        "fuzz: {} targets, {executions} executions, seed {}, {found} found wrong",
        targets.len(),
        options.seed
    );
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends the process when an execution does not end.
fn watch(current: &[Mutex<Option<Current>>], seed: u64, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        for current in current {
            let Ok(guard) = current.lock() else { continue };
            let Some(stuck) = guard.as_ref().filter(|at| EXECUTION_MAX < at.since.elapsed()) else {
                continue;
            };
            tell(&stuck.name, seed, stuck.number, &stuck.bytes, "it does not come to an end");
            std::process::exit(1);
        }
    }
}

fn tell(name: &str, seed: u64, number: u64, bytes: &[u8], words: &str) {
    let hex = hex_of(bytes);
    eprintln!(
        "\n{name}: {words}\n  seed {seed}, execution {number}, {} bytes: {hex}\n  \
         cargo run --release -- --replay {name} {hex}\n",
        bytes.len()
    );
}

/// What came of a target.
struct Outcome {
    executions: u64,
    is_found: bool,
}

fn run_one(target: &Target, options: &Options, current: &Mutex<Option<Current>>) -> Outcome {
    let started = Instant::now();
    let mut random = Random::new(options.seed, &target.name);
    let mut corpus = target.seeds.clone();
    corpus.push(Vec::new());
    let mut seen = BTreeSet::new();
    let seeds = corpus.len();
    let mut executions = 0_u64;
    let is_found = loop {
        let is_up = match options.executions {
            Some(most) => most <= executions,
            None => options.seconds <= started.elapsed().as_secs_f64(),
        };
        // The seeds themselves come first, and all of them whatever the time.
        let is_seed = executions < seeds as u64;
        if is_up && !is_seed {
            break false;
        }
        let bytes = match corpus.get(executions as usize) {
            Some(seed) if is_seed => seed.clone(),
            _ => mutate(&mut random, &corpus),
        };
        *current.lock().expect("no panic here") = Some(Current {
            name: target.name.clone(),
            number: executions,
            since: Instant::now(),
            bytes: bytes.clone(),
        });
        if let Err(words) = execute(target, &bytes) {
            *current.lock().expect("no panic here") = None;
            let small = shrink(&bytes, |bytes| execute(target, bytes).is_err());
            let words = execute(target, &small).err().unwrap_or(words);
            tell(&target.name, options.seed, executions, &small, &words);
            break true;
        }
        executions += 1;
        let noted = note::take();
        let is_new = !noted.is_subset(&seen);
        seen.extend(noted);
        if is_new && !is_seed && corpus.len() < CORPUS_MAX {
            corpus.push(bytes);
        }
    };
    *current.lock().expect("no panic here") = None;
    let kept = corpus.len() - seeds;
    let verdict = if is_found { "FOUND" } else { "ok" };
    println!(
        "{verdict:5} {:44} {executions:9} executions, {} noted, {kept} kept",
        target.name,
        seen.len()
    );
    Outcome { executions, is_found }
}

/// One execution; an error says what is wrong.
fn execute(target: &Target, bytes: &[u8]) -> Result<(), String> {
    let run = || catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let (outcome, peak) = memory::peak(run);
    match outcome {
        Err(panic) => Err(format!("panicked at {}: {}", PANICKED_AT.take(), words_of(&*panic))),
        Ok(()) if target.memory_bytes_max < peak => {
            Err(format!("allocates {peak} bytes, more than {}", target.memory_bytes_max))
        }
        Ok(()) => Ok(()),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}

//! The commands: each parses its arguments, calls the library, prints, and ends with a code of [`Exit`].

mod agent;
mod check;
mod deadletter;
mod git;
mod reload;
mod resources;
mod restart;
mod run;
mod screen;
mod sink;
mod stack;
mod status;
mod table;
mod unit;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;
use crate::config::{Config, Diagnostic, Surroundings};
use crate::platform;
use crate::words::count;

/// Why a command ended (spec/experience 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// Something failed that is none of the others.
    Failed = 1,
    /// The arguments make no sense; clap uses the same.
    Usage = 2,
    /// Settings or checks have faults.
    Faults = 3,
    /// `run`: the script could not be loaded.
    NotLoaded = 4,
    /// `run`: the script raised, timed out or died.
    Raised = 5,
    /// `run`: data was refused, or there was none.
    Refused = 6,
    /// The agent does not answer.
    NoAgent = 7,
    /// A git repository could not be pulled.
    Git = 9,
    Interrupted = 130,
}

#[derive(Parser)]
#[command(name = "pythond", version, about = "Runs Python collectors, supervises them and delivers what they report without losing a point", long_about = None)]
#[command(
    after_help = "Exit codes: 0 ok · 1 failed · 2 usage · 3 faults in settings or scripts · 4 script not loaded · 5 script raised, timed out or died ·\n6 data refused or none · 7 agent not reachable · 9 git operation failed · 130 interrupted"
)]
struct Cli {
    /// Directory with conf.d/, python.d/ and data/ [default: the current directory if it has conf.d, else /usr/local/pythond]
    #[arg(long, global = true, env = "PYTHOND_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent in the foreground (the default)
    Agent,
    /// Run a script once, without agent or settings, and show what it reports
    Run(run::Args),
    /// Check the settings and load every script in a throw-away worker
    Check(check::Args),
    /// Show what each unit and sink does, and why not
    Status(status::Args),
    /// Show what a live worker is doing: the Python stacks of all its threads
    Stack(stack::Args),
    /// Have changed files and settings take effect now, and say what became of each
    Reload(reload::Args),
    /// End a unit's worker once its run is done, and start it anew from the files as they are
    Restart(restart::Args),
    /// Have all jobs of a unit run now, those that wait for their check after it; one that waits to be tried again is tried
    RunNow(restart::Args),
    /// Have jobs that wait for their check make it now; what waits to be tried again is tried
    Recheck(restart::RecheckArgs),
    /// List the sinks, or give up what waits for one
    Sink(sink::Args),
    /// Show and pull the git repositories that scripts and settings come from
    Git(git::Args),
    /// Show what was refused for good and why, or send it again
    Deadletter(deadletter::Args),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    platform::hear_all_signals();
    let cli = Cli::parse();
    // Whatever a command leaves in `data` or `gitrepos`; scripts get what they would have had.
    platform::keep_private();
    let root = root_of(cli.root);
    let exit = match cli.command.unwrap_or(Command::Agent) {
        Command::Agent => agent::main(&root),
        Command::Run(args) => run::main(&root, &args),
        Command::Check(args) => check::main(&root, &args),
        Command::Status(args) => status::main(&root, &args),
        Command::Stack(args) => stack::main(&root, &args),
        Command::Reload(args) => reload::main(&root, &args),
        Command::Restart(args) => restart::restart(&root, &args),
        Command::RunNow(args) => restart::run_now(&root, &args),
        Command::Recheck(args) => restart::recheck(&root, &args),
        Command::Sink(args) => sink::main(&root, &args),
        Command::Git(args) => git::main(&root, &args),
        Command::Deadletter(args) => deadletter::main(&root, &args),
    };
    ExitCode::from(exit as u8)
}

fn root_of(given: Option<PathBuf>) -> PathBuf {
    let root = given.unwrap_or_else(|| match std::env::current_dir() {
        Ok(here) if here.join("conf.d").is_dir() => here,
        _ => PathBuf::from("/usr/local/pythond"),
    });
    std::path::absolute(&root).unwrap_or(root)
}

/// Writes to stdout; a reader that went away (`pythond status | head`) is no error.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes notices and diagnostics to stderr.
fn warn(text: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody is left to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn colour_on_stderr() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

/// Prints diagnostics to stderr, each as one block.
fn show(diagnostics: &[Diagnostic]) {
    let (here, colour) = (here(), colour_on_stderr());
    for diagnostic in diagnostics {
        warn(&format!("{}\n", diagnostic.render(&here, colour)));
    }
}

/// Reads the settings, or prints every fault.
fn settings(root: &Path) -> Result<Config, Exit> {
    app::repos::settings(root, &Surroundings::of_this_process()).map_err(|error| {
        show(&error.faults);
        show(&error.warnings);
        warn(&format!(
            "{} in the settings below {}\n",
            count(error.faults.len(), "fault"),
            root.join("conf.d").display()
        ));
        Exit::Faults
    })
}

/// Prints a path relative to the current directory where it lies inside.
fn short(path: &Path) -> String {
    path.strip_prefix(here()).unwrap_or(path).display().to_string()
}

/// A runtime for the commands that only wait for one thing.
fn small_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only an epoll descriptor")
}

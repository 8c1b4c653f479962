//! `lbctl`: one verb or noun per file. It reaches the daemon only through [`crate::api::client`].

pub mod capture;
pub mod change;
pub mod check;
pub mod config;
pub mod doctor;
pub mod drops;
pub mod exit;
pub mod flows;
pub mod ipvs;
pub mod list;
pub mod output;
pub mod pcap;
pub mod remote;
pub mod route;
pub mod show;
pub mod shutdown;
pub mod status;
pub mod table;
pub mod top;
pub mod units;
pub mod wait;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use self::exit::Failure;
use crate::api::client::Client;

/// Operate the load balancer.
#[derive(Debug, Parser)]
#[command(
    name = "lbctl",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 refused or not reached in time, 2 usage, 3 lbd unreachable, 4 not found."
)]
pub struct Cli {
    /// Control socket of lbd
    #[arg(long, global = true, env = "LBCTL_SOCKET", default_value = "/run/lbd/lbd.sock")]
    pub socket: PathBuf,
    /// Shape of the output
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Shape of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For people with wide screens
    Wide,
    /// For scripts: the API's answer; keys are stable
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Everything on one screen, problems first
    Status,
    /// Services with their backends
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// One pool, service or backend in full
    Show(show::Args),
    /// Let a backend serve again
    Pool(change::PoolArgs),
    /// Send no new connections to a backend; established ones finish
    #[command(visible_alias = "drain")]
    Depool(change::DepoolArgs),
    /// Change a backend's share of new connections
    Weight(change::WeightArgs),
    /// Health checks
    #[command(subcommand)]
    Check(check::Verb),
    /// Where the live program sends a packet, and why
    Where(Box<route::args::Args>),
    /// Packets that were not forwarded, by reason
    Drops(drops::Args),
    /// Copies of dropped packets, shown or written to a pcap file
    Capture(capture::Args),
    /// Flows that the tables remember, by backend and age; or one of them
    Flows(flows::Args),
    /// The slots of a pool, as they are in the kernel
    #[command(subcommand)]
    Table(table::Verb),
    /// Rates of services and backends, every second
    Top(top::Args),
    /// What commonly goes wrong, looked at once, with what to type
    Doctor(doctor::Args),
    /// The configuration file
    #[command(subcommand)]
    Config(config::Verb),
    /// Stop lbd; the last tables forward on unless --detach
    Shutdown(shutdown::Args),
    /// Completions for a shell, to be sourced
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Where a verb gets its answers and puts its text.
#[derive(Debug)]
pub struct Context {
    /// The daemon.
    pub client: Client,
    /// Shape of the output.
    pub format: Format,
}

impl Context {
    /// Prints a whole answer; colours are dropped unless it goes to a terminal.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Prints the API's answer for scripts.
    pub fn print_json<T: serde::Serialize>(&self, answer: &T) -> Result<(), Failure> {
        let mut text =
            serde_json::to_string_pretty(answer).map_err(|error| Failure::Odd(error.to_string()))?;
        text.push('\n');
        self.print(&text)
    }

    /// Prints as JSON or as `table` says.
    pub fn show<T: serde::Serialize>(
        &self,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.format == Format::Json { self.print_json(answer) } else { self.print(&table(answer)) }
    }
}

/// The whole of `lbctl`.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Odd(format!("no runtime: {error}")).report(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context { client: Client::new(&cli.socket), format: cli.output };
    match cli.verb {
        Verb::Status => status::run(&context).await,
        Verb::List(args) => list::run(&context, &args).await,
        Verb::Show(args) => show::run(&context, &args).await,
        Verb::Pool(args) => change::pool(&context, &args).await,
        Verb::Depool(args) => change::depool(&context, &args).await,
        Verb::Weight(args) => change::weight(&context, &args).await,
        Verb::Check(verb) => check::run(&context, &verb).await,
        Verb::Where(args) => route::run(&context, &args).await,
        Verb::Capture(args) => capture::run(&context, &args).await,
        Verb::Flows(args) => flows::run(&context, &args).await,
        Verb::Table(verb) => table::run(&context, &verb).await,
        Verb::Top(args) => top::run(&context, &args).await,
        Verb::Doctor(args) => doctor::run(&context, &args).await,
        Verb::Drops(args) => drops::run(&context, &args).await,
        Verb::Config(verb) => config::run(&context, &verb).await,
        Verb::Shutdown(args) => shutdown::run(&context, &args).await,
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lbctl", &mut text);
            context.print(&String::from_utf8_lossy(&text))
        }
    }
}

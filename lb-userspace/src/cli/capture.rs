//! `lbctl capture`: copies of dropped packets, shown or written to a file.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    Context, Format,
    exit::Failure,
    output::{BAD, plain, styled},
    pcap,
    units::parse_duration,
};
use crate::{
    api::types::{CaptureBatch, CaptureId, CaptureSample, CaptureStarted, CaptureWish, Done},
    datapath::hex,
};

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "The file is pcapng, which wireshark and tcpdump read; each packet's comment is the reason of its drop. A frame's \
                        first 256 bytes are kept. Copying ends with this command, however it ends."
)]
pub struct Args {
    /// Only packets dropped for this reason, as `lbctl drops --all` names it; may be repeated
    #[arg(long, short, value_name = "REASON")]
    pub reason: Vec<String>,
    /// One packet in so many
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub every: u64,
    /// End after so many packets
    #[arg(long, short, value_name = "N", default_value_t = 1_000)]
    pub count: u64,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub time: Duration,
    /// Write them to this file, `-` for the standard output
    #[arg(long, short, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// Where packets go.
enum Sink {
    Lines,
    Json,
    File(Box<dyn Write>),
}

/// Runs it.
pub async fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let mut sink = open(context, args.write.as_deref())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let wish = CaptureWish {
        reasons: args.reason.clone(),
        every: args.every,
        count: args.count,
        seconds: args.time.as_secs(),
    };
    let CaptureStarted { id, reasons } = context.client.post("/api/v1/capture/start", &wish).await?;
    say(&format!("capturing packets dropped for {}; Ctrl-C ends", reasons.join(", ")));
    let mut packets = 0u64;
    let (lost, why) = loop {
        let body = CaptureId { id };
        let next = context.client.post("/api/v1/capture/next", &body);
        let batch: Result<CaptureBatch, _> = tokio::select! {
            batch = next => batch,
            _ = interrupt.recv() => break (None, "interrupted".to_owned()),
            _ = terminate.recv() => break (None, "terminated".to_owned()),
        };
        let batch = batch?;
        let written = batch.samples.iter().try_for_each(|sample| put(context, &mut sink, sample));
        if let Err(failure) = written {
            let _: Result<Done, _> = context.client.post("/api/v1/capture/end", &CaptureId { id }).await;
            return Err(failure);
        }
        packets += batch.samples.len() as u64;
        if let Some(why) = batch.ended {
            break (Some(batch.lost), why);
        }
    };
    let lost = if let Some(lost) = lost {
        lost
    } else {
        // Ended here: what is left is fetched, and the copying is over at once, not only with its lease.
        let _: Result<Done, _> = context.client.post("/api/v1/capture/end", &CaptureId { id }).await;
        let mut lost = 0;
        while let Ok(batch) =
            context.client.post::<_, CaptureBatch>("/api/v1/capture/next", &CaptureId { id }).await
        {
            batch.samples.iter().try_for_each(|sample| put(context, &mut sink, sample))?;
            packets += batch.samples.len() as u64;
            lost = batch.lost;
            if batch.ended.is_some() {
                break;
            }
        }
        lost
    };
    if let Sink::File(file) = &mut sink {
        file.flush()?;
    }
    say(&format!("{packets} packets, {lost} lost: {why}"));
    Ok(())
}

/// What is said beside the packets.
fn say(text: &str) {
    // Whoever closed stderr does not want to know.
    let _ = writeln!(io::stderr().lock(), "{}", plain(text));
}

fn open(context: &Context, file: Option<&Path>) -> Result<Sink, Failure> {
    let Some(file) = file else {
        return Ok(if context.format == Format::Json { Sink::Json } else { Sink::Lines });
    };
    let mut out: Box<dyn Write> = if file == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(Failure::Usage(
                "a capture file does not belong on a terminal: pipe it, as in `lbctl capture -w - | tcpdump -r -`".into(),
            ));
        }
        Box::new(io::stdout())
    } else {
        let open = File::create(file).map_err(|error| Failure::Refused {
            error: format!("{}: {error}", file.display()),
            help: "name a file in a directory where you may write".into(),
        })?;
        Box::new(BufWriter::new(open))
    };
    out.write_all(&pcap::begin())?;
    out.flush()?;
    Ok(Sink::File(out))
}

fn put(context: &Context, sink: &mut Sink, sample: &CaptureSample) -> Result<(), Failure> {
    match sink {
        Sink::Lines => context.print(&line(sample)),
        Sink::Json => {
            let text = serde_json::to_string(sample).map_err(|error| Failure::Odd(error.to_string()))?;
            context.print(&format!("{text}\n"))
        }
        Sink::File(out) => {
            let bytes = hex::parse(&sample.bytes)
                .ok_or_else(|| Failure::Odd("a packet from lbd was not understood".into()))?;
            out.write_all(&pcap::frame(&bytes, sample.at, sample.length, &sample.reason))?;
            // Whoever looks at the other end of a pipe wants it now.
            out.flush()?;
            Ok(())
        }
    }
}

/// A packet in one line.
pub fn line(sample: &CaptureSample) -> String {
    #[expect(clippy::cast_sign_loss, reason = "no time is before 1970")]
    let of_day = (sample.at.max(0.0) * 1_000.0) as u64 % 86_400_000;
    let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
    let time = format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{time} {} {} length {}\n", styled(BAD, &sample.reason), plain(&sample.summary), sample.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_reason_and_packet() {
        let sample = CaptureSample {
            at: 1_704_067_200.25 + 3_723.0,
            reason: "no_backend".into(),
            length: 60,
            bytes: String::new(),
            summary: "a > b tcp\x1b".into(),
        };
        let text = anstream::adapter::strip_str(&line(&sample)).to_string();
        assert_eq!(text, "01:02:03.250 no_backend a > b tcp\u{fffd} length 60\n");
    }
}

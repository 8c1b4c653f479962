//! A cache host: HAProxy (TLS, HTTP/2) in front of Varnish in front of nginx, as processes in the host's namespace, each on a
//! configuration of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

use super::site::{Family, HTTP, HTTPS, Host, OBJECTS, object_byte};
use crate::process;

/// Writes the objects that all hosts serve.
pub(super) fn write_objects(dir: &Path) -> Result<()> {
    let objects = dir.join("objects");
    fs::create_dir_all(&objects)?;
    for (name, size) in OBJECTS {
        let content: Vec<u8> = (0..size).map(object_byte).collect();
        fs::write(objects.join(name), content).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// A running host. Dropping it ends its processes.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) host: Host,
    dir: PathBuf,
    haproxy: Option<Child>,
    _behind: [Child; 2],
}

impl Backend {
    /// Starts the three servers. `certificate`: a file with certificate and key.
    pub(super) fn start(host: Host, lab: &Path, certificate: &Path) -> Result<Self> {
        let dir = lab.join(host.name);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("nginx.conf"), nginx(&dir, lab))?;
        fs::write(dir.join("cache.vcl"), VCL)?;
        fs::write(dir.join("haproxy.cfg"), haproxy(host, certificate))?;
        let here = |name: &str| dir.join(name).display().to_string();
        let nginx = spawn(host, &dir, "nginx", &["-c", &here("nginx.conf"), "-e", &here("nginx.log")])?;
        let varnish = spawn(
            host,
            &dir,
            "varnishd",
            &[
                "-F",
                "-n",
                &here("varnish"),
                "-f",
                &here("cache.vcl"),
                "-a",
                "127.0.0.1:6081",
                "-j",
                "none",
                "-s",
                "malloc,64m",
                "-p",
                "thread_pools=1",
                "-p",
                "thread_pool_min=10",
                "-p",
                "vsl_space=8m",
            ],
        )?;
        let mut backend = Self { host, dir, haproxy: None, _behind: [nginx, varnish] };
        backend.start_terminator()?;
        Ok(backend)
    }

    /// Has a far host's kernel take packets out of their tunnel: this one has no tunnel devices.
    pub(super) fn unwrap_tunnel(&self, lbdecap: &Path, bpf: &Path) -> Result<()> {
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", self.host.namespace]).arg(lbdecap);
        command.arg("--bpf-dir").arg(bpf).args(["attach", "e0"]);
        for family in Family::BOTH {
            command.args(["--address", &self.host.address(family).to_string()]);
        }
        process::quietly(&mut command).map(drop)
    }

    /// Starts HAProxy, also again after [`Backend::kill`].
    pub(super) fn start_terminator(&mut self) -> Result<()> {
        let config = self.dir.join("haproxy.cfg").display().to_string();
        self.haproxy = Some(spawn(self.host, &self.dir, "haproxy", &["-db", "-f", &config])?);
        Ok(())
    }

    /// Kills HAProxy as the kernel kills what takes too much memory: established connections are reset, new ones refused.
    pub(super) async fn kill(&mut self) -> Result<()> {
        match self.haproxy.take() {
            Some(mut child) => {
                child.kill().await.with_context(|| format!("killing HAProxy of {}", self.host.name))
            }
            None => bail!("{}: HAProxy does not run", self.host.name),
        }
    }

    /// What its servers said last, for an error.
    pub(super) fn last_words(&self) -> String {
        ["haproxy", "varnishd", "nginx"]
            .iter()
            .filter_map(|name| {
                let text = fs::read_to_string(self.dir.join(format!("{name}.log"))).ok()?;
                let last: Vec<&str> = text.lines().rev().take(5).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                (!last.is_empty()).then(|| format!("{} {name}:\n  {}", self.host.name, last.join("\n  ")))
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Starts a program in the host's namespace. `ip netns exec` becomes the program, so the child is the program itself.
fn spawn(host: Host, dir: &Path, program: &str, arguments: &[&str]) -> Result<Child> {
    let log = dir.join(format!("{program}.log"));
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| log.display().to_string())?;
    Command::new("ip")
        .args(["netns", "exec", host.namespace, program])
        .args(arguments)
        // Debian keeps them in /usr/sbin, which a user's PATH may lack.
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {program} of {}", host.name))
}

/// The origin: objects, a health page, and a place that takes uploads and says how many bytes came.
fn nginx(dir: &Path, lab: &Path) -> String {
    let (dir, objects) = (dir.display(), lab.join("objects"));
    let objects = objects.display();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n\
         \x20 access_log off;\n\
         \x20 client_max_body_size 64m;\n\
         \x20 client_body_temp_path {dir}/body;\n\
         \x20 proxy_temp_path {dir}/proxy;\n\
         \x20 fastcgi_temp_path {dir}/fastcgi;\n\
         \x20 uwsgi_temp_path {dir}/uwsgi;\n\
         \x20 scgi_temp_path {dir}/scgi;\n\
         \x20 server {{\n\
         \x20   listen 127.0.0.1:8080;\n\
         \x20   root {objects};\n\
         \x20   add_header Cache-Control max-age=600;\n\
         \x20   location = /healthz {{ return 200 \"ok\\n\"; }}\n\
         \x20   location = /upload {{ proxy_pass http://127.0.0.1:8081; add_header X-Received-Bytes $request_length; }}\n\
         \x20 }}\n\
         \x20 # Asked once the whole body is there.\n\
         \x20 server {{ listen 127.0.0.1:8081; return 200 \"taken\\n\"; }}\n\
         }}\n"
    )
}

/// A health check asks the origin, too; everything else is cached.
const VCL: &str = "\
vcl 4.1;
backend origin { .host = \"127.0.0.1\"; .port = \"8080\"; }
sub vcl_recv {
  if (req.url == \"/healthz\") { return (pass); }
}
";

/// Listens on every address, so on the host's own and on the VIPs of both families.
fn haproxy(host: Host, certificate: &Path) -> String {
    let (name, certificate) = (host.name, certificate.display());
    format!(
        "global\n  maxconn 2000\n  nbthread 1\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout http-keep-alive 60s\n\
         frontend web\n  bind :::{HTTP} v4v6\n  bind :::{HTTPS} v4v6 ssl crt {certificate} alpn h2,http/1.1\n\
         \x20 http-response set-header X-Cache-Host {name}\n  default_backend varnish\n\
         backend varnish\n  server local 127.0.0.1:6081\n"
    )
}

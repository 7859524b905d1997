//! A browser without a window, in a network namespace: Chromium, told what to do by its DevTools protocol over two pipes.

use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, Write, pipe};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::clock::Time;
use crate::netns::Namespace;
use crate::prerequisites::{browser_program, set_libraries};
use crate::process::Process;

/// How long an answer of the browser's may take. It answers in milliseconds, where it is let.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at the page.
const LOOK: Duration = Duration::from_millis(50);

/// It has to have no window, and to ask nobody on the network for anything of its own.
const OPTIONS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A browser with one page. Killed when dropped.
#[derive(Debug)]
pub struct Browser {
    process: Process,
    to: PipeWriter,
    from: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    complaints: Vec<String>,
}

impl Browser {
    /// Starts one with an empty profile below `dir`.
    ///
    /// # Errors
    /// When there is no Chromium on this machine, or it does not start.
    pub fn start(namespace: &Namespace, dir: &Path) -> Result<Self> {
        let program = browser_program().context("no Chromium: `cargo xtask test` unpacks one")?;
        let profile = dir.join("browser");
        fs::create_dir(&profile).with_context(|| format!("cannot make {profile:?}"))?;
        let (input, to) = pipe()?;
        let (from, output) = pipe()?;
        let log = fs::File::create(dir.join("browser.log"))?;
        // It wants its pipes as descriptors 3 and 4.
        let mut command = namespace.command("/bin/sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >&2"]).arg(&program).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.display())).env("HOME", &profile);
        set_libraries(&mut command, &program)?;
        command.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(log);
        let process = Process::spawn("the browser", command)?;
        let (told, inbox) = channel();
        thread::spawn(move || {
            for message in BufReader::new(from).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                // Nobody listens any more: the browser is no more wanted.
                if told.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { process, to, from: inbox, session: None, asked: 0, complaints: Vec::new() };
        let page = browser.ask("Target.createTarget", json!({"url": "about:blank"}))?;
        let attached = browser.ask("Target.attachToTarget", json!({"targetId": page["targetId"], "flatten": true}))?;
        browser.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Opens a page, and returns when it has begun to load.
    ///
    /// # Errors
    /// When nothing answers there.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.ask("Page.navigate", json!({ "url": url }))?;
        match answer["errorText"].as_str() {
            Some(error) => bail!("{url}: {error}"),
            None => Ok(()),
        }
    }

    /// What an expression in JavaScript is, on the page.
    ///
    /// # Errors
    /// With what it throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        // By the page's own rules.
        let question = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "allowUnsafeEvalBlockedByCSP": false,
        });
        let answer = self.ask("Runtime.evaluate", question)?;
        if answer["exceptionDetails"].is_object() {
            bail!("{expression}: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// All text that is to be seen on the page; none before it has loaded.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn text(&mut self) -> Result<String> {
        Ok(self.evaluate("document.body?.innerText")?.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page's text has this in it.
    ///
    /// # Errors
    /// When it has not within `limit`; with the text that it has.
    pub fn wait_text(&mut self, words: &str, limit: Duration) -> Result<()> {
        let start = Time::now();
        loop {
            let text = self.text()?;
            if text.contains(words) {
                return Ok(());
            }
            if start.elapsed() > limit {
                bail!("the page does not say {words:?} within {limit:?}:\n{text}\n{}", self.complaints.join("\n"));
            }
            thread::sleep(LOOK);
        }
    }

    /// A picture of the whole page in PNG, in a window of that width.
    ///
    /// # Errors
    /// When the browser does not make one.
    pub fn picture(&mut self, width: u32, dark: bool) -> Result<Vec<u8>> {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features }))?;
        let size = json!({"width": width, "height": 100, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size)?;
        let height = self.evaluate("document.documentElement.scrollHeight")?;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size)?;
        let answer = self.ask("Page.captureScreenshot", json!({"format": "png"}))?;
        Ok(STANDARD.decode(answer["data"].as_str().context("no picture")?)?)
    }

    /// What the browser has complained of: what a policy forbade, what a script threw.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.asked += 1;
        let mut question = json!({"id": self.asked, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            question["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{question}\0").as_bytes()).context("the browser has ended")?;
        let start = Time::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let message = self.from.recv_timeout(left).map_err(|_| {
                let ended = self.process.exit_status().map_or_else(String::new, |status| format!(" ({status})"));
                anyhow::anyhow!("{method}: the browser does not answer{ended}")
            })?;
            if message["id"] == self.asked {
                if message["error"].is_object() {
                    bail!("{method}: {}", message["error"]);
                }
                return Ok(message["result"].clone());
            }
            self.listen(&message);
        }
    }

    /// A network error is the daemon's silence, and not the page's fault.
    fn listen(&mut self, event: &Value) {
        let told = &event["params"];
        match event["method"].as_str() {
            Some("Log.entryAdded") if told["entry"]["level"] == "error" && told["entry"]["source"] != "network" => {
                self.complaints.push(told["entry"]["text"].to_string());
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(told["exceptionDetails"].to_string()),
            _ => {}
        }
    }
}

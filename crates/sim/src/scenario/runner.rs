//! Runs a scenario: the lab, the gateway in a folder of its own, and one step after the other.

use std::{path::PathBuf, time::Instant};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use toml::Table;

use super::{Failure, Lab, Mark, Outcome, Program, Scenario, Step, config, gateway::Gateway, step::Disk};

/// Runs one scenario to its end or its first failure; `keep` leaves its folder behind.
pub async fn run(scenario: &Scenario, program: &Program, keep: bool) -> Outcome {
    play(scenario, program, keep, false).await
}

/// The same, but goes on after an expectation that was not met: all of them are judged.
pub async fn run_through(scenario: &Scenario, program: &Program, keep: bool) -> Outcome {
    play(scenario, program, keep, true).await
}

async fn play(scenario: &Scenario, program: &Program, keep: bool, through: bool) -> Outcome {
    let started = Instant::now();
    let mut outcome = Outcome {
        name: scenario.name.clone(),
        passed: false,
        seconds: 0.0,
        steps: 0,
        failure: None,
        missed: Vec::new(),
        marks: Vec::new(),
        evidence: Vec::new(),
    };
    match Stage::set(scenario, program.clone()).await {
        Ok(mut stage) => {
            let limited = timeout(scenario.limit.0, Box::pin(stage.play(scenario, &mut outcome.steps, through))).await;
            outcome.failure = match limited {
                Ok(result) => result.err(),
                Err(_) => Some(at_step(scenario, outcome.steps, format!("the scenario took over {}", scenario.limit))),
            };
            (outcome.missed, outcome.marks) = (std::mem::take(&mut stage.missed), std::mem::take(&mut stage.marks));
            let stopped = stage.gateway.stop().await;
            if let (None, Err(why)) = (&outcome.failure, stopped) {
                outcome.failure = Some(Failure { step: None, word: "stopping".to_owned(), why });
            }
            if outcome.failure.is_none() {
                outcome.failure = outcome.missed.first().cloned();
            }
            if outcome.failure.is_some() {
                outcome.evidence = stage.evidence();
            }
            if keep {
                outcome.evidence.push(format!("folder kept: {}", stage.folder.keep().display()));
            }
        }
        Err(why) => outcome.failure = Some(Failure { step: Some(0), word: "start".to_owned(), why }),
    }
    outcome.passed = outcome.failure.is_none();
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome
}

fn at_step(scenario: &Scenario, done: usize, why: String) -> Failure {
    Failure { step: Some(done + 1), word: scenario.steps.get(done).map_or("end", Step::word).to_owned(), why }
}

/// Everything that steps work with.
#[derive(Debug)]
pub(super) struct Stage {
    /// With the settings that are in force now.
    scenario: Scenario,
    pub(super) lab: Lab,
    pub(super) gateway: Gateway,
    pub(super) program: Program,
    pub(super) host: Table,
    pub(super) config: PathBuf,
    pub(super) folder: TempDir,
    /// The Audit IDs in the replies to sent messages, with their recipients.
    pub(super) sent: Vec<(Vec<String>, String)>,
    /// Every reply with an Audit ID, oldest first.
    pub(super) heard: Vec<Heard>,
    pub(super) marks: Vec<Mark>,
    /// Expectations that were not met on the way through.
    missed: Vec<Failure>,
}

/// A reply of the gateway that had an Audit ID.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) client: String,
    pub(super) recipients: Vec<String>,
    pub(super) id: String,
    pub(super) refused: bool,
}

impl Stage {
    async fn set(scenario: &Scenario, program: Program) -> Result<Self, String> {
        let folder =
            tempfile::Builder::new().prefix("sim-").tempdir().map_err(|error| format!("no folder: {error}"))?;
        let lab = Lab::start(scenario).await?;
        lab.write_config(scenario, folder.path())?;
        let host = config::host(&scenario.host)?;
        let config = folder.path().join("gatepost.toml");
        let gateway = Gateway::new(program.clone(), config.clone(), config::control(&host)).with(scenario);
        Ok(Self {
            scenario: scenario.clone(),
            lab,
            gateway,
            program,
            host,
            config,
            folder,
            sent: Vec::new(),
            heard: Vec::new(),
            marks: Vec::new(),
            missed: Vec::new(),
        })
    }

    async fn play(&mut self, scenario: &Scenario, done: &mut usize, through: bool) -> Result<(), Failure> {
        if let Err(why) = self.gateway.start().await {
            return Err(Failure { step: Some(0), word: "start".to_owned(), why });
        }
        for step in &scenario.steps {
            let result = Box::pin(self.step(step)).await;
            // A dead gateway explains whatever else went wrong.
            let result = match (self.gateway.alive(), result) {
                (Err(dead), Err(why)) => Err(format!("{dead}; {why}")),
                (alive, result) => alive.and(result),
            };
            let dead = self.gateway.alive().is_err();
            match result {
                Err(why) if through && step.looks() && !dead => self.missed.push(at_step(scenario, *done, why)),
                result => result.map_err(|why| at_step(scenario, *done, why))?,
            }
            *done += 1;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(step) => self.send(step).await,
            Step::Talk(step) => self.talk(step).await,
            Step::WaitDelivered(step) => self.wait_delivered(step).await,
            Step::WaitQueue(step) => self.wait_queue(step).await,
            Step::WaitLog(step) => self.wait_log(step).await,
            Step::ExpectBounce(step) => self.expect_bounce(step).await,
            Step::ExpectCopies(step) => self.expect_copies(step).await,
            Step::ExpectFinding(step) => self.expect_finding(step).await,
            Step::ExpectNoAlarm(step) => self.expect_no_alarm(step).await,
            Step::ExpectConnections(step) => self.expect_connections(step),
            Step::ExpectQuestions(step) => self.expect_questions(step),
            Step::Run(step) => self.run(step).await,
            Step::SetZone(step) => self.lab.set_zone(&step.zone),
            Step::SetPeer(step) => self.lab.set_peer(&step.peer, &step.script).await,
            Step::SetSettings(step) => {
                self.gateway.stop().await?;
                self.scenario.settings = step.settings.clone();
                self.lab.write_config(&self.scenario, self.folder.path())?;
                self.gateway.start().await
            }
            Step::Disk(disk) => self.gateway.disk(*disk == Disk::Full),
            Step::Restart(_) => {
                self.gateway.stop().await?;
                self.gateway.start().await
            }
            Step::Kill(_) => self.gateway.kill().await,
            Step::Sleep(span) => {
                sleep(span.0).await;
                Ok(())
            }
        }
    }
}

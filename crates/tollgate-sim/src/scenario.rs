//! What happens in a run: a list of steps, made from a seed alone. Steps are data and mean something wherever they stand, so that a list
//! that fails can be cut shorter and still be run.

use fastrand::Rng;

use crate::disk::{Damage, Failure};
use crate::model::amounts::{ONE, Pico, Unit};
use crate::model::calendar::{Calendar, DAY, Period, SECOND, Zone};
use crate::model::prices::Marked;
use crate::model::words::{Call, Definition, Estimate, Model, Naming, OnExpiry, PLANS, PREPAID, Resource};

/// A run before it happens.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What the clock says at the start.
    pub start: i64,
    /// The tenant's first plan.
    pub plan: usize,
    /// After how many entries the store takes a snapshot.
    pub snapshot_every: usize,
    /// Whether an instance lives on after a turn that failed; the Worker lets go of it.
    pub keeps_failed_instance: bool,
    /// How far the clock of an overtaken instance is off.
    pub skew: i64,
    /// How many holds may be open, of the tenant and of a user, where that is less than what ships.
    pub caps: Option<(usize, usize)>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// One thing that happens. Numbers that choose among what is there are taken modulo how much that is.
#[derive(Clone, Debug)]
pub enum Step {
    /// A client gives up what it was about, and reserves anew.
    Begin(u8, Call, Estimate, u32, OnExpiry, bool),
    /// A client whose hold is acknowledged goes on.
    GoOn(u8, Move),
    /// A client that waits for an answer asks again, with the same id.
    Retry(u8),
    /// A client forgets everything.
    Crash(u8),
    /// Someone uses an id that is already known, to do something else.
    Meddle(u16, Move),
    /// The administrator takes back a charge, most often one that there is: so many hundredths of what is left, or all of that; for one of two reasons.
    Refund(u16, Reclaim),
    /// Someone records a call that was made without a hold.
    Record(Call, Pieces, bool),
    /// The administrator changes something.
    Administer(Admin),
    /// The administrator adds to what a quota allows, or ends that.
    Fund(Fund),
    /// Something that was asked about credits and increases is asked again.
    FundAgain(u16),
    /// An extension or a reading that was answered long ago is asked again.
    AskAgain(u16),
    /// Someone extends or meters a hold several times in one turn, then asks for the first once more, and for something else under its id.
    Insist(u16, bool),
    /// The administrator releases open holds in bulk.
    ReleaseHolds(Meant),
    /// A quota that was credited, or raised, is removed, with what is left where that is said, and made anew; and what was asked about it is asked again.
    Renew(u16, bool),
    /// Someone asks.
    Ask(Question),
    /// Requests reach the object and are carried out in one turn. The object may be one that was overtaken.
    Deliver(Vec<u16>, bool, Option<Failure>),
    /// An answer reaches its client, or is lost.
    Answer(u16, bool),
    /// A request is lost.
    Lose(u16),
    /// A request will arrive twice.
    Double(u16),
    /// Time passes.
    Tick(Tick),
    /// The alarm goes off where it is due, or although it is not.
    Alarm(bool, Option<Failure>),
    /// The instance is evicted.
    Evict,
    /// A second instance starts over the same storage, and the first lives on.
    Fork,
    /// Somebody audits.
    Audit,
    /// The administrator re-rates all charges, and under an id makes up the differences.
    Rerate(Option<u8>, Option<Failure>),
    /// What is stored besides the journal is damaged behind the ledger's back, and the administrator repairs it.
    Repair(Damage, Option<Failure>),
    /// The administrator exports the entries, and drops some of them.
    Archive(u16, Option<Failure>),
}

/// What a client does about a hold.
#[derive(Clone, Copy, Debug)]
pub enum Move {
    /// It reports what it used.
    Settle(Pieces),
    /// It reports a part of what it used.
    SettleIncomplete(Pieces),
    /// It reports what it has used so far.
    Meter(u8, Pieces),
    /// It made no call.
    Release,
    /// It needs longer, or more: so many hundredths of the estimate.
    Extend(u8, Option<u32>, Option<u8>),
    /// It reserves, with another content where the id is known.
    Reserve(Estimate),
    /// It asks.
    Get,
}

/// How much was used: in hundredths of an estimate, or where there is none, of a small one.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// Of the input.
    pub input: u8,
    /// Hundredths of the input that came from a cache.
    pub cached: u8,
    /// Of the output, the life or the amount.
    pub output: u8,
    /// Whether an amount is reported instead.
    pub as_usd: bool,
}

/// How much of a charge is taken back.
#[derive(Clone, Copy, Debug)]
pub struct Reclaim {
    /// The refund's key.
    pub number: u8,
    /// In hundredths of what is left; all of it where nothing is said.
    pub hundredths: Option<u8>,
    /// Why.
    pub why: u8,
}

/// What the administrator changes.
#[derive(Clone, Debug)]
pub enum Admin {
    /// A quota.
    Put(u8, Definition),
    /// A quota's limit alone.
    Limit(u8, Pico),
    /// What a quota's periods leave to the next: so many tenths of the limit, or nothing.
    Rollover(u8, Option<Pico>),
    /// A quota goes, and what is left of its credits where that is said.
    Delete(u8, bool),
    /// A quota starts again, most often one that there is.
    Reset(u8),
    /// The plan.
    Onboard(usize),
    /// Own rates, other names and markups.
    Prices(Pricing),
}

/// Own rates of a model, another name and markups, each with its [`Lasting`]. Rates are 10⁻¹² USD, factors hundredths.
#[derive(Clone, Debug)]
pub struct Pricing {
    /// Rates of input and output.
    pub own: Option<(Model, Pico, Pico, Lasting)>,
    /// Another name for a model.
    pub alias: Option<Lasting>,
    /// Factors.
    pub markups: Vec<(Marked, Pico, Lasting)>,
}

/// From when to when something holds, in milliseconds after it was asked for.
pub type Lasting = (Option<i64>, Option<i64>);

/// What the administrator adds to a quota, or ends of that. Amounts are numbers of what is usual for the quota's unit, durations
/// milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum Fund {
    /// So much is paid in advance: for how long, and what of it goes on then, for how much longer.
    Credit(u16, u8, u8, Option<i64>, Option<(u8, i64)>),
    /// What is left of a credit is taken back.
    Revoke(u16, u8),
    /// The limit is higher for a while.
    Increase(u16, u8, u8, i64),
    /// An increase is ended.
    EndIncrease(u16, u8),
}

/// Which open holds are meant: those that have all that is named.
#[derive(Clone, Copy, Debug)]
pub struct Meant {
    /// Whose.
    pub user: Option<u8>,
    /// From where.
    pub touchpoint: Option<u8>,
    /// Opened so many milliseconds ago or earlier.
    pub age: Option<i64>,
}

/// What somebody asks.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// For all quotas.
    Quotas,
    /// For what was spent.
    Usage(Asked),
    /// For open holds.
    Holds(Meant),
    /// Whether a call would pass.
    Explain(Call, Estimate),
}

/// Which report somebody asks for: numbers that choose among what can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// A bit for each dimension.
    pub by: u8,
    /// Whose days and months.
    pub zone: u8,
    /// Which of these.
    pub window: u8,
    /// How many groups.
    pub limit: u8,
    /// After which group.
    pub after: u8,
}

/// How time passes.
#[derive(Clone, Copy, Debug)]
pub enum Tick {
    /// By so many milliseconds.
    By(i64),
    /// To the next deadline, and so many milliseconds more.
    ToDeadline(i64),
    /// To the end of a quota's period, and so many milliseconds more.
    ToBoundary(i64),
    /// To the end of a credit or an increase, and so many milliseconds more.
    ToEndOfFunds(i64),
    /// The clock is set back.
    Back(i64),
    /// The clock is wrong from now on, by so many milliseconds.
    Jump(i64),
    /// The clock is set to what it said before it last went wrong, and so many milliseconds more.
    Return(i64),
}

/// The clients there are.
pub const CLIENTS: u8 = 4;
const QUOTAS: u8 = 5;

/// Instants to start at: the ends of weeks, months and years, leap days, and nights in which clocks are changed.
const STARTS: [&str; 8] = [
    "2026-11-29T22:30:00Z",
    "2026-12-31T23:59:00Z",
    "2028-02-28T23:55:00Z",
    "2026-03-29T00:59:30Z",
    "2026-10-25T00:30:00Z",
    "2027-02-28T12:00:00Z",
    "2026-11-24T12:00:00Z",
    "2027-01-31T23:59:59Z",
];

impl Scenario {
    /// The run of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let storm = Storm {
            failures: rng.u32(0..4),
            forks: rng.bool(),
            admin: rng.u32(0..3),
            funds: rng.u32(0..3),
            prices: if rng.u32(..3) == 0 { 16 } else { 0 },
            resets: rng.u32(..4) == 0,
        };
        let start = STARTS[rng.usize(..STARTS.len())];
        let count = rng.usize(50..140);
        let mut scenario = Self {
            start: tollgate_start(start),
            plan: if storm.funds > 0 && rng.bool() { PREPAID } else { rng.usize(..PLANS) },
            snapshot_every: [1, 3, 8, 1000][rng.usize(..4)],
            keeps_failed_instance: rng.bool(),
            skew: [0, 1, -1, 5 * SECOND, -60 * SECOND, -2 * 3_600 * SECOND, 40 * DAY][rng.usize(..7)],
            caps: None,
            steps: (0..count).map(|_| storm.step(&mut rng)).collect(),
        };
        scenario.crowd(&mut Rng::with_seed(seed ^ CROWDS));
        scenario
    }

    /// Many holds: caps that are reached, and open holds that are listed and released together. A stream of choices of its own leaves the others as they are.
    fn crowd(&mut self, rng: &mut Rng) {
        if rng.u32(..3) == 0 {
            self.caps = Some((rng.usize(3..9), rng.usize(1..4)));
        }
        let many = if rng.bool() { rng.usize(..4) } else { 0 };
        for _ in 0..many {
            let at = rng.usize(..=self.steps.len());
            let step = if rng.u32(..3) == 0 {
                Step::Ask(Question::Holds(Meant { age: None, ..meant(rng) }))
            } else {
                Step::ReleaseHolds(meant(rng))
            };
            self.steps.insert(at, step);
        }
    }
}

/// What makes the stream of choices about crowds another than that of the same seed.
const CROWDS: u64 = 0x0c20_3d5e_ed00;

fn meant(rng: &mut Rng) -> Meant {
    Meant {
        user: one_of(rng, &[None, Some(0), Some(0), Some(1)]),
        touchpoint: one_of(rng, &[None, None, Some(0), Some(1)]),
        age: one_of(rng, &[None, None, Some(0), Some(60 * SECOND)]),
    }
}

/// What kind of weather it is.
struct Storm {
    failures: u32,
    forks: bool,
    admin: u32,
    funds: u32,
    prices: u32,
    resets: bool,
}

impl Storm {
    fn step(&self, rng: &mut Rng) -> Step {
        let client = rng.u8(..CLIENTS);
        match rng.u32(..100 + self.prices + 12 * self.funds) {
            116.. => self.step_of_funds(rng),
            100.. if self.prices == 0 => self.step_of_funds(rng),
            100..107 => Step::Administer(Admin::Prices(pricing(rng))),
            107.. => Step::Rerate((rng.u32(..3) > 0).then(|| rng.u8(..2)), self.failure(rng)),
            0..12 => {
                let call = call(rng);
                Step::Begin(client, call, estimate(rng, call.model), ttl(rng), on_expiry(rng), rng.u32(..6) == 0)
            }
            12..27 => Step::GoOn(client, going_on(rng)),
            27..32 => Step::Retry(client),
            32 => Step::Crash(client),
            33..39 => Step::Meddle(rng.u16(..), meddling(rng)),
            39..41 => Step::Refund(rng.u16(..), reclaim(rng)),
            41..44 => Step::Record(call(rng), pieces(rng), rng.bool()),
            44..47 if self.resets => Step::Administer(Admin::Reset(8 * rng.u8(..QUOTAS) + 1)),
            44 if self.admin == 1 => Step::Administer(Admin::Reset(rng.u8(..8 * QUOTAS))),
            44 => Step::AskAgain(rng.u16(..)),
            45..47 if self.admin > 0 => Step::Administer(administer(rng, self.funds > 0)),
            45..47 => Step::Ask(question(rng)),
            47..72 => {
                let picks = (0..rng.usize(1..5)).map(|_| rng.u16(..)).collect();
                Step::Deliver(picks, self.forks && rng.u32(..5) == 0, self.failure(rng))
            }
            72..85 => Step::Answer(rng.u16(..), rng.u32(..5) == 0),
            85 => Step::Lose(rng.u16(..)),
            86 => Step::Double(rng.u16(..)),
            87 => Step::Insist(rng.u16(..), rng.bool()),
            88..93 => Step::Tick(tick(rng)),
            93..95 => Step::Alarm(rng.u32(..3) == 0, self.failure(rng)),
            95 => Step::Evict,
            96 if rng.bool() => Step::Repair(one_of(rng, &Damage::ALL), self.failure(rng)),
            96 => Step::Evict,
            97..99 if self.forks => Step::Fork,
            97 => Step::Audit,
            99 => Step::Archive(rng.u16(..), self.failure(rng)),
            _ => Step::Ask(question(rng)),
        }
    }

    fn step_of_funds(&self, rng: &mut Rng) -> Step {
        match rng.u32(..19) {
            15.. => Step::Fund(fund(rng)),
            14 => Step::Renew(rng.u16(..), rng.u32(..3) > 0),
            12 => Step::Administer(Admin::Delete(rng.u8(..QUOTAS), rng.u32(..3) > 0)),
            13 => Step::Administer(Admin::Put(rng.u8(..QUOTAS), prepaid(rng))),
            0..7 => Step::Fund(fund(rng)),
            7 => Step::FundAgain(rng.u16(..)),
            8 => Step::Tick(Tick::ToEndOfFunds(one_of(rng, &[-1, 0, 0, 1, SECOND]))),
            9 => Step::Tick(Tick::ToBoundary(one_of(rng, &[-1, 0, 0, 1]))),
            10 => Step::Administer(roll_over(rng)),
            _ => Step::Administer(Admin::Limit(rng.u8(..QUOTAS), Pico::from(rng.u32(8..13)))),
        }
    }

    fn failure(&self, rng: &mut Rng) -> Option<Failure> {
        if rng.u32(..12) >= self.failures {
            return None;
        }
        Some(match rng.u32(..8) {
            0..3 => Failure::Statement(rng.u8(..10)),
            3 => Failure::CommitFails,
            4 => Failure::DiesAt(rng.u8(..10)),
            5 => Failure::DiesBeforeCommit,
            _ => Failure::DiesAfterCommit,
        })
    }
}

fn tollgate_start(text: &str) -> i64 {
    text.parse().map_or(0, tollgate_core::time::Timestamp::millis)
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}

fn call(rng: &mut Rng) -> Call {
    Call {
        model: one_of(rng, &[Model::Gpt4o, Model::Gpt4o, Model::Sonnet, Model::Sandbox, Model::Unknown]),
        naming: one_of(rng, &[Naming::Plain, Naming::Plain, Naming::Prefixed, Naming::Listed]),
        user: one_of(rng, &[None, Some(0), Some(0), Some(1)]),
        touchpoint: one_of(rng, &[None, Some(0), Some(1)]),
    }
}

fn usd(rng: &mut Rng) -> Pico {
    match rng.u32(..8) {
        0 => 0,
        1 => Pico::from(rng.u64(..200_000_000_000)),
        _ => Pico::from(rng.u32(1..21)) * (ONE / 100),
    }
}

fn estimate(rng: &mut Rng, model: Model) -> Estimate {
    if rng.u32(..3) == 0 {
        return Estimate::Usd(usd(rng));
    }
    match model {
        Model::Sandbox => Estimate::Seconds(rng.u32(0..200)),
        _ => Estimate::Tokens { input: rng.u32(0..10) * 1_000, output: rng.u32(0..10) * 700 },
    }
}

fn ttl(rng: &mut Rng) -> u32 {
    one_of(rng, &[1, 60, 600, 600, 7_200, 86_400])
}

fn on_expiry(rng: &mut Rng) -> OnExpiry {
    one_of(rng, &[OnExpiry::Release, OnExpiry::ChargeInput, OnExpiry::ChargeHold])
}

fn pieces(rng: &mut Rng) -> Pieces {
    Pieces {
        input: one_of(rng, &[0, 50, 100, 100, 130]),
        cached: one_of(rng, &[0, 0, 50]),
        output: one_of(rng, &[0, 30, 80, 100, 100, 150]),
        as_usd: rng.u32(..3) == 0,
    }
}

fn going_on(rng: &mut Rng) -> Move {
    match rng.u32(..14) {
        0..4 => Move::Settle(pieces(rng)),
        4 => Move::SettleIncomplete(pieces(rng)),
        5 => Move::Release,
        6..10 => meter(rng),
        _ => extend(rng),
    }
}

fn extend(rng: &mut Rng) -> Move {
    let ttl = if rng.bool() { Some(ttl(rng)) } else { None };
    Move::Extend(rng.u8(..10), ttl, if rng.bool() { Some(one_of(rng, &[80, 120, 200])) } else { None })
}

fn meter(rng: &mut Rng) -> Move {
    let some = Pieces { output: one_of(rng, &[10, 30, 50, 80, 100, 150]), ..pieces(rng) };
    Move::Meter(rng.u8(..24), some)
}

fn reclaim(rng: &mut Rng) -> Reclaim {
    let hundredths = one_of(rng, &[None, Some(10), Some(30), Some(50), Some(100), Some(101)]);
    Reclaim { number: rng.u8(..4), hundredths, why: u8::from(rng.u32(..8) == 0) }
}

fn meddling(rng: &mut Rng) -> Move {
    match rng.u32(..12) {
        0..4 => Move::Settle(pieces(rng)),
        4 => Move::Release,
        5..7 => extend(rng),
        7 => Move::Reserve(Estimate::Usd(usd(rng))),
        8 => Move::SettleIncomplete(pieces(rng)),
        9 => Move::Get,
        _ => meter(rng),
    }
}

fn administer(rng: &mut Rng, is_funded: bool) -> Admin {
    match rng.u32(..if is_funded { 10 } else { 8 }) {
        0..3 => {
            let (unit, limit) = limit(rng);
            let period = if unit == Unit::Concurrent {
                Period::Lifetime
            } else {
                let rolling = Period::Rolling(one_of(rng, &[1, 60, 600, 3_600, 86_400]));
                let prepaid = if is_funded { Period::Lifetime } else { Period::Day };
                one_of(
                    rng,
                    &[Period::Hour, Period::Day, Period::Week, Period::Month, Period::Lifetime, rolling, prepaid],
                )
            };
            let (touchpoints, providers, models) = if rng.bool() { Default::default() } else { names(rng) };
            let rolls_over = matches!(period, Period::Hour | Period::Day | Period::Week | Period::Month);
            Admin::Put(
                rng.u8(..QUOTAS),
                Definition {
                    user: one_of(rng, &[None, None, Some(0), Some(1)]),
                    resource: one_of(rng, &[Resource::All, Resource::All, Resource::Llm, Resource::E2b]),
                    unit,
                    limit,
                    period,
                    calendar: if period == Period::Lifetime || rng.bool() {
                        Calendar::default()
                    } else {
                        calendar(rng, period)
                    },
                    warn_at: one_of::<&[Pico]>(rng, &[&[], &[500], &[800, 1000], &[250, 500, 1000]]).to_vec(),
                    touchpoints,
                    providers,
                    models,
                    warns_only: rng.u32(..8) == 0,
                    rollover: (rolls_over && rng.u32(..3) == 0).then(|| part_of(rng, unit, limit)),
                },
            )
        }
        3 => Admin::Limit(rng.u8(..QUOTAS), Pico::from(rng.u32(..12))),
        4 => Admin::Delete(rng.u8(..QUOTAS), rng.bool()),
        5..7 => Admin::Reset(rng.u8(..8 * QUOTAS)),
        7 => Admin::Onboard(rng.usize(..PLANS)),
        _ => roll_over(rng),
    }
}

/// A quota that is paid for in advance.
fn prepaid(rng: &mut Rng) -> Definition {
    Definition {
        user: None,
        resource: one_of(rng, &[Resource::All, Resource::Llm]),
        unit: Unit::Usd,
        limit: Pico::from(rng.u32(..3)) * (ONE / 100),
        period: Period::Lifetime,
        calendar: Calendar::default(),
        warn_at: Vec::new(),
        touchpoints: Vec::new(),
        providers: Vec::new(),
        models: Vec::new(),
        warns_only: false,
        rollover: None,
    }
}

/// What a filter lists: places in the app, providers, and models, each written in some way.
fn names(rng: &mut Rng) -> (Vec<u8>, Vec<Model>, Vec<(Model, Naming)>) {
    let touchpoints = one_of::<&[u8]>(rng, &[&[], &[], &[0], &[0, 1]]);
    let providers =
        one_of::<&[Model]>(rng, &[&[], &[], &[Model::Gpt4o], &[Model::Sonnet, Model::Gpt4o], &[Model::Unknown]]);
    let model = |rng: &mut Rng| {
        let model = one_of(rng, &[Model::Gpt4o, Model::Gpt4o, Model::Sonnet, Model::Unknown]);
        (model, one_of(rng, &[Naming::Plain, Naming::Prefixed, Naming::Listed]))
    };
    let models = (0..one_of(rng, &[0, 1, 1, 2])).map(|_| model(rng)).collect();
    (touchpoints.to_vec(), providers.to_vec(), models)
}

fn pricing(rng: &mut Rng) -> Pricing {
    let mut markups = Vec::new();
    for marked in [Marked::All, Marked::Llm, Marked::OpenAi, Marked::Gpt4o] {
        if rng.u32(..3) == 0 {
            markups.push((marked, one_of(rng, &[50, 90, 120, 200]), lasting(rng)));
        }
    }
    let alias = (rng.u32(..4) == 0).then(|| lasting(rng));
    let model = if rng.bool() || alias.is_some() { Model::Gpt4o } else { Model::Unknown };
    let rates = (Pico::from(rng.u32(1..6)) * 1_000_000, Pico::from(rng.u32(1..20)) * 1_000_000);
    let own = rng.bool().then(|| (model, rates.0, rates.1, lasting(rng)));
    Pricing { own, alias, markups }
}

fn lasting(rng: &mut Rng) -> Lasting {
    let from = one_of(rng, &[None, None, Some(-SECOND), Some(0), Some(60 * SECOND)]);
    let until = one_of(rng, &[None, None, Some(61 * SECOND), Some(3_600 * SECOND), Some(DAY)]);
    (from, until)
}

fn roll_over(rng: &mut Rng) -> Admin {
    Admin::Rollover(rng.u8(..QUOTAS), rng.bool().then(|| Pico::from(rng.u32(1..12))))
}

fn calendar(rng: &mut Rng, period: Period) -> Calendar {
    let days = matches!(period, Period::Day | Period::Week | Period::Month);
    Calendar {
        zone: if matches!(period, Period::Rolling(_)) {
            Zone::Utc
        } else {
            one_of(rng, &[Zone::Berlin, Zone::Kathmandu, Zone::NewYork, Zone::Kolkata])
        },
        sundays: period == Period::Week && rng.bool(),
        month_day: if period == Period::Month { one_of(rng, &[0, 15, 31]) } else { 0 },
        hour: if days { one_of(rng, &[0, 0, 2, 6]) } else { 0 },
    }
}

/// A part of a limit, which its unit can count.
fn part_of(rng: &mut Rng, unit: Unit, limit: Pico) -> Pico {
    let part = limit / 10 * Pico::from(rng.u32(1..12));
    if unit == Unit::Usd { part } else { part / ONE * ONE }
}

fn fund(rng: &mut Rng) -> Fund {
    let (quota, number, much) = (rng.u16(..), rng.u8(..12), one_of(rng, &[1, 2, 3, 5, 8, 13, 20]));
    let lasts = one_of(rng, &[1, SECOND, 60 * SECOND, 600 * SECOND, 3_600 * SECOND, DAY, 31 * DAY]);
    match rng.u32(..12) {
        0..6 => {
            let rolls = (rng.u32(..3) == 0).then(|| (rng.u8(1..10), one_of(rng, &[SECOND, 600 * SECOND, DAY])));
            Fund::Credit(quota, number, much, (rng.u32(..4) > 0).then_some(lasts), rolls)
        }
        6..8 => Fund::Revoke(quota, number),
        8..10 => Fund::Increase(quota, number, much, lasts),
        _ => Fund::EndIncrease(quota, number),
    }
}

fn limit(rng: &mut Rng) -> (Unit, Pico) {
    match rng.u32(..8) {
        0..4 => (Unit::Usd, Pico::from(rng.u32(..41)) * (ONE / 100)),
        4 => (Unit::Tokens, Pico::from(rng.u32(..40)) * 1_000 * ONE),
        5 => (Unit::Requests, Pico::from(rng.u32(..7)) * ONE),
        6 => (Unit::Seconds, Pico::from(rng.u32(..500)) * ONE),
        _ => (Unit::Concurrent, Pico::from(rng.u32(..5)) * ONE),
    }
}

fn question(rng: &mut Rng) -> Question {
    match rng.u32(..3) {
        0 => Question::Quotas,
        1 => Question::Usage(Asked {
            by: rng.u8(..64),
            zone: rng.u8(..4),
            window: rng.u8(..6),
            limit: rng.u8(..6),
            after: rng.u8(..16),
        }),
        _ => {
            let call = call(rng);
            Question::Explain(call, estimate(rng, call.model))
        }
    }
}

fn tick(rng: &mut Rng) -> Tick {
    match rng.u32(..15) {
        12 => Tick::Jump(one_of(rng, &[7_200 * SECOND, DAY, 7 * DAY, 31 * DAY, 400 * DAY, 1_300 * DAY])),
        13.. => Tick::Return(one_of(rng, &[0, 1, SECOND, 60 * SECOND, 3_600 * SECOND])),
        0..3 => Tick::By(one_of(rng, &[0, 1, SECOND, 59 * SECOND, 600 * SECOND, 3_600 * SECOND])),
        3..7 => Tick::ToDeadline(one_of(rng, &[-1, 0, 0, 1, SECOND, 3_600 * SECOND])),
        7..10 => Tick::ToBoundary(one_of(rng, &[-1, 0, 0, 1, SECOND])),
        10 => Tick::By(one_of(rng, &[DAY, 7 * DAY, 31 * DAY])),
        _ => Tick::Back(one_of(rng, &[1, SECOND, 1_800 * SECOND, 7_200 * SECOND, 2 * DAY, 40 * DAY, 400 * DAY])),
    }
}

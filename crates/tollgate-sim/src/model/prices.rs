//! What calls cost: rates written down by hand, and what a tenant's document says instead or on top.

use serde_json::{Value, json};

use super::amounts::{self, Amounts, ONE, Pico};
use super::calendar;
use super::words::{Actual, Call, Estimate, Fallback, Model};

const SANDBOX_SECOND: Pico = ONE / 1000;

/// Between which instants something holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// From then on.
    pub from: Option<i64>,
    /// Before then.
    pub until: Option<i64>,
}

/// A tenant's own rates, other names and markups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// 10⁻¹² USD per token of input and of output of a model. What is cached costs half the input.
    pub own: Option<(Model, Pico, Pico, Dates)>,
    /// When the unknown model is another name of `gpt-4o`.
    pub alias: Option<Dates>,
    /// Hundredths that rates are multiplied by, one entry at most of each kind.
    pub markups: Vec<(Marked, Pico, Dates)>,
}

/// What a markup is for, the least said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Marked {
    /// Every call.
    All,
    /// Every call of a model.
    Llm,
    /// Every call of OpenAI's.
    OpenAi,
    /// Every call of `gpt-4o`.
    Gpt4o,
}

/// The rates of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    model: Model,
    /// 10⁻¹² USD per token: the dearest of input, plain input, cached input, output. None where there are none.
    tokens: Option<[Pico; 4]>,
    /// 10⁻¹² USD per second of a sandbox.
    second: Pico,
}

impl Dates {
    fn hold(self, at: i64) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    fn write(self, mut entry: Value) -> Value {
        for (name, instant) in [("from", self.from), ("until", self.until)] {
            if let Some(instant) = instant {
                entry[name] = calendar::text(instant).into();
            }
        }
        entry
    }
}

impl Document {
    /// The instants at which something begins or ends to hold.
    pub fn instants(&self) -> impl Iterator<Item = i64> {
        let own = self.own.iter().map(|(.., dates)| *dates);
        let all = own.chain(self.alias).chain(self.markups.iter().map(|(.., dates)| *dates));
        all.flat_map(|dates| [dates.from, dates.until]).flatten()
    }

    /// As the wire has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // 10⁻¹² USD per token are 10⁻⁶ USD per million.
        let per_million = |rate: Pico| amounts::text(rate * 1_000_000);
        let own = self.own.iter().map(|(model, input, output, dates)| {
            let (provider, model) = model.names();
            dates.write(json!({ "provider": provider, "model": model, "perMillion": {
                "input": per_million(*input), "cache_read": per_million(input / 2), "output": per_million(*output) } }))
        });
        let alias = self.alias.iter().map(|dates| {
            let ((provider, model), (is_provider, is)) = (Model::Unknown.names(), Model::Gpt4o.names());
            dates.write(json!({ "provider": provider, "model": model, "is": { "provider": is_provider, "model": is } }))
        });
        let markups = self.markups.iter().map(|(marked, hundredths, dates)| {
            let mut markup = json!({ "id": format!("{marked:?}"), "factor": amounts::text(hundredths * ONE / 100) });
            match marked {
                Marked::All => {}
                Marked::Llm => markup["resource"] = "llm".into(),
                Marked::OpenAi => markup["provider"] = "openai".into(),
                Marked::Gpt4o => {
                    markup["provider"] = "openai".into();
                    markup["model"] = "gpt-4o".into();
                }
            }
            dates.write(markup)
        });
        json!({ "rates": own.collect::<Vec<_>>(), "aliases": alias.collect::<Vec<_>>(), "markups": markups.collect::<Vec<_>>() })
    }

    /// The model that another one's name stands for, or itself.
    #[must_use]
    pub fn meant(&self, model: Model, at: i64) -> Model {
        let is_alias = model == Model::Unknown && self.alias.is_some_and(|dates| dates.hold(at));
        if is_alias { Model::Gpt4o } else { model }
    }

    /// Hundredths that the rates of a model are multiplied by: those of the markup that says most. It names models as the price list does.
    fn hundredths(&self, model: Model, is_plain: bool, at: i64) -> Pico {
        let means = |marked: Marked| match marked {
            Marked::All => true,
            Marked::Llm => model != Model::Sandbox,
            Marked::OpenAi => model == Model::Gpt4o,
            Marked::Gpt4o => model == Model::Gpt4o && is_plain,
        };
        let in_force = self.markups.iter().filter(|(marked, _, dates)| means(*marked) && dates.hold(at));
        in_force.max_by_key(|(marked, ..)| *marked).map_or(100, |(_, hundredths, _)| *hundredths)
    }
}

impl Rates {
    /// The rates of a call at an instant, by a document and a plan's rates for unknown models.
    #[must_use]
    pub fn of(call: &Call, at: i64, document: &Document, fallback: Fallback) -> Self {
        let Call { model, naming, .. } = *call;
        // Own rates and markups are for the very name that the price list has.
        let is_plain = model.written(naming) == model.names().1;
        let named = document.meant(model, at);
        let own = document.own.filter(|(of, _, _, dates)| *of == named && is_plain && dates.hold(at));
        let listed = match (own, named) {
            (Some((_, input, output, _)), _) => Some([input, input, input / 2, output]),
            (None, Model::Gpt4o) => Some([2_500_000, 2_500_000, 1_250_000, 10_000_000]),
            (None, Model::Sonnet) => Some([6_000_000, 3_000_000, 300_000, 15_000_000]),
            (None, Model::Unknown) => fallback.map(|(input, output)| [input, input, input, output]),
            (None, Model::Sandbox) => None,
        };
        let hundredths = document.hundredths(named, is_plain, at);
        let tokens = listed.map(|rates| rates.map(|rate| rate * hundredths / 100));
        Self { model, tokens, second: SANDBOX_SECOND * hundredths / 100 }
    }

    /// The most that an estimate comes to, and the input's part of it. None where it has no price.
    #[must_use]
    pub fn bound(&self, estimate: Estimate) -> Option<(Amounts, Amounts)> {
        let once = Amounts { requests: ONE, ..Amounts::default() };
        match estimate {
            Estimate::Usd(usd) => Some((Amounts { usd, ..once }, Amounts { usd, ..once })),
            Estimate::Tokens { input, output } => {
                let [dearest, _, _, out] = self.tokens?;
                let (input, output) = (Pico::from(input), Pico::from(output));
                let prompt = Amounts { usd: input * dearest, tokens: input * ONE, ..once };
                let answer = Amounts { usd: output * out, tokens: output * ONE, ..Amounts::default() };
                Some((prompt + answer, prompt))
            }
            Estimate::Seconds(seconds) => self.sandbox(seconds).map(|all| (all, all)),
        }
    }

    /// How much of the answer or life an amount of dollars pays for. None where it does not even pay for the prompt, or nothing is priced by piece.
    #[must_use]
    pub fn pays_for(&self, estimate: Estimate, usd: Pico) -> Option<Pico> {
        match estimate {
            Estimate::Usd(_) => None,
            Estimate::Tokens { input, output } => {
                let [dearest, _, _, out] = self.tokens?;
                let left = usd - Pico::from(input) * dearest;
                (left >= 0).then(|| (left / out).min(Pico::from(output)))
            }
            Estimate::Seconds(seconds) => Some((usd / self.second).min(Pico::from(seconds))),
        }
    }

    /// What a usage comes to without a hold. None where it has no price.
    #[must_use]
    pub fn cost(&self, actual: Actual) -> Option<Amounts> {
        let once = Amounts { requests: ONE, ..Amounts::default() };
        match actual {
            Actual::Usd(usd) => Some(Amounts { usd, ..once }),
            // Nothing costs nothing, of whatever has a price.
            Actual::Usage { input: 0, cached: 0, output: 0 } if self.model == Model::Sandbox => Some(once),
            Actual::Usage { input, cached, output } => {
                let [_, plain, read, out] = self.tokens?;
                let (input, cached, output) = (Pico::from(input), Pico::from(cached), Pico::from(output));
                let usd = input * plain + cached * read + output * out;
                Some(Amounts { usd, tokens: (input + cached + output) * ONE, ..once })
            }
            Actual::Incomplete { input, output } => self.cost(Actual::Usage { input, cached: 0, output }),
            Actual::Seconds(seconds) => self.sandbox(seconds),
        }
    }

    fn sandbox(&self, seconds: u32) -> Option<Amounts> {
        let seconds = Pico::from(seconds);
        let all = Amounts { usd: seconds * self.second, tokens: 0, requests: ONE, seconds: seconds * ONE };
        (self.model == Model::Sandbox).then_some(all)
    }
}

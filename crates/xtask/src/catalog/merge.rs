//! Makes one dated price list of what three sources say.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::{Decimal, RoundingStrategy};

use super::card::{Card, MODES, Opinion, Opinions, Rates, UNKNOWN_DATE, is_token};
use super::model_prices::PeakHours;
use super::names;
use super::review::Review;

/// A source: the key that cards name it by, its name in decisions, and what it says.
pub struct Source {
    pub key: &'static str,
    pub name: &'static str,
    /// The day up to which it knows prices, where it says so.
    pub read_on: Option<String>,
    pub opinions: Opinions,
}

/// A model of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub model: String,
    pub aliases: Vec<String>,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub cards: Vec<SourcedCard>,
}

/// A card, and how well it is attested.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcedCard {
    pub card: Card,
    pub source: &'static str,
    pub confidence: &'static str,
    /// Where a mode is attested worse than the card.
    pub mode_confidence: BTreeMap<&'static str, &'static str>,
}

/// Merges the sources, the most trusted first. `as_of` is the day on which their current prices are compared.
pub fn merge(
    sources: &[Source],
    peak_hours: &[PeakHours],
    as_of: &str,
    review: &mut Review,
) -> BTreeMap<String, Vec<Model>> {
    let names: BTreeSet<&(String, String)> = sources.iter().flat_map(|source| source.opinions.keys()).collect();
    let mut providers: BTreeMap<String, Vec<(Option<String>, Model)>> = BTreeMap::new();
    for (provider, name) in names {
        let said: Vec<(&Source, &Opinion)> = sources
            .iter()
            .filter_map(|source| Some((source, source.opinions.get(&(provider.clone(), name.clone()))?)))
            .collect();
        let entry = said.iter().find_map(|(_, opinion)| opinion.entry.clone());
        let mut model = one(provider, name, &said, as_of, review);
        for card in &mut model.cards {
            add_weekdays(provider, &mut card.card, peak_hours);
        }
        providers.entry(provider.clone()).or_default().push((entry, model));
    }
    providers.into_iter().map(|(provider, models)| (provider, with_aliases(models))).collect()
}

fn one(provider: &str, name: &str, said: &[(&Source, &Opinion)], as_of: &str, review: &mut Review) -> Model {
    let place = format!("{provider}/{name}");
    let mut cards = timeline(said, as_of);
    if let Some(date) = names::date_in(name) {
        let next = cards.get(1).map(|card| card.card.from.clone());
        if let Some(first) = cards.first_mut().filter(|first| first.card.from == UNKNOWN_DATE)
            && next.is_none_or(|next| date < next)
        {
            first.card.from = date;
        }
    }
    let today = cards.iter().rposition(|card| card.card.from.as_str() <= as_of).unwrap_or(0);
    for (at, card) in cards.iter_mut().enumerate() {
        if at == today {
            compare(&place, card, said, as_of, review);
        } else {
            card.confidence = attested(&card.card, said, as_of);
        }
        tidy(&mut card.card);
    }
    Model {
        model: name.to_owned(),
        aliases: Vec::new(),
        context_window: said.iter().find_map(|(_, opinion)| opinion.context_window).filter(|tokens| *tokens > 0),
        max_output_tokens: said.iter().find_map(|(_, opinion)| opinion.max_output_tokens).filter(|tokens| *tokens > 0),
        cards,
    }
}

/// The first source's cards; the past of another one where that has more of it and comes to the same price today.
fn timeline(said: &[(&Source, &Opinion)], as_of: &str) -> Vec<SourcedCard> {
    let sourced = |source: &Source, card: &Card| SourcedCard {
        card: card.clone(),
        source: source.key,
        confidence: "single",
        mode_confidence: BTreeMap::new(),
    };
    let Some((first, opinion)) = said.first() else { return Vec::new() };
    let today = opinion.at(as_of);
    let own = || opinion.cards.iter().map(|card| sourced(first, card)).collect();
    let Some(now) = opinion.cards.get(today) else { return own() };
    let richer = said.iter().skip(1).find(|(_, other)| {
        other.at(as_of) > today && other.cards.get(other.at(as_of)).is_some_and(|card| same_price(card, now))
    });
    let Some((source, other)) = richer else { return own() };
    let past = other.cards.iter().take(other.at(as_of)).map(|card| sourced(source, card));
    let from = other.cards.get(other.at(as_of)).map_or(UNKNOWN_DATE, |card| &card.from);
    let present = Card { from: from.to_owned(), ..now.clone() };
    let future = opinion.cards.iter().skip(today + 1).map(|card| sourced(first, card));
    past.chain([sourced(first, &present)]).chain(future).collect()
}

fn same_price(one: &Card, other: &Card) -> bool {
    ["input", "output"].into_iter().all(|meter| one.rates.get(&(0, meter)) == other.rates.get(&(0, meter)))
}

/// How well a past or future card is attested.
fn attested(card: &Card, said: &[(&Source, &Opinion)], as_of: &str) -> &'static str {
    let dated = said.iter().filter(|(_, opinion)| opinion.cards.len() > 1 && card.from.as_str() <= as_of);
    let agree = dated
        .filter(|(_, opinion)| opinion.cards.get(opinion.at(&card.from)).is_some_and(|other| same_price(card, other)));
    if agree.count() > 1 { "confirmed" } else { "single" }
}

/// Compares what all sources say of today's price, and takes what is decided.
fn compare(place: &str, sourced: &mut SourcedCard, said: &[(&Source, &Opinion)], as_of: &str, review: &mut Review) {
    // A source that was read before the price changed does not contradict the change.
    let since = sourced.card.from.clone();
    let today: Vec<(&Source, &Card)> = said
        .iter()
        .filter(|(source, _)| source.read_on.as_ref().is_none_or(|read_on| *read_on >= since))
        .filter_map(|(source, opinion)| Some((*source, opinion.cards.get(opinion.at(as_of))?)))
        .collect();
    let (rates, agreed) =
        decide(place, "", today.iter().map(|(source, card)| (source.name, &card.rates)).collect(), review);
    sourced.card.rates = rates;
    sourced.confidence = if agreed { "confirmed" } else { "single" };
    if let Some((source, _)) = today.iter().find(|(_, card)| same_price(card, &sourced.card)) {
        sourced.source = source.key;
    }
    for (_, card) in &today {
        for (region, change) in &card.regions {
            sourced.card.regions.entry(region.clone()).or_insert_with(|| change.clone());
        }
    }
    if sourced.card.schedules.is_empty()
        && let Some((_, card)) =
            today.iter().find(|(_, card)| !card.schedules.is_empty() && same_price(card, &sourced.card))
    {
        // The hours of one source that has the same price outside them.
        sourced.card.schedules.clone_from(&card.schedules);
    }
    for mode in MODES {
        // The timelines of modes are the least certain, so they speak last.
        let mut of_mode: Vec<(&'static str, &Rates)> =
            today.iter().filter_map(|(source, card)| Some((source.name, card.modes.get(mode)?))).collect();
        of_mode.sort_by_key(|(name, _)| *name == "model-prices");
        let Some(first) = of_mode.first().map(|(_, rates)| (*rates).clone()) else { continue };
        let (mut rates, agreed) = decide(place, &format!("{mode} "), of_mode, review);
        // A meter that the first source does not name costs what it costs without the mode: that is never cheaper.
        rates.retain(|key, _| first.contains_key(key));
        if !agreed && sourced.confidence == "confirmed" {
            sourced.mode_confidence.insert(mode, "single");
        }
        if add_missing_tiers(&sourced.card.rates, &mut rates) {
            sourced.mode_confidence.insert(mode, "reported");
        }
        sourced.card.modes.insert(mode, rates);
    }
}

/// Each rate as decided, and whether two sources agree on input and output.
fn decide(place: &str, prefix: &str, said: Vec<(&'static str, &Rates)>, review: &mut Review) -> (Rates, bool) {
    let keys: BTreeSet<_> = said.iter().flat_map(|(_, rates)| rates.keys().copied()).collect();
    let mut decided = Rates::new();
    let mut agreed = true;
    for (above, meter) in keys {
        // A tier belongs to the rates that it lies over: one of a source whose rates were not taken would make no sense over others.
        let base = decided.get(&(0, meter));
        let belongs = |rates: &Rates| above == 0 || rates.get(&(0, meter)).is_none_or(|own| base == Some(own));
        let values: Vec<(&'static str, Decimal)> = said
            .iter()
            .filter(|(_, rates)| belongs(rates))
            .filter_map(|(name, rates)| Some((*name, *rates.get(&(above, meter))?)))
            .collect();
        if values.is_empty() {
            continue;
        }
        let tier = if above > 0 { format!(" above {above}") } else { String::new() };
        let (value, votes) = review.decide(place, &format!("{prefix}{meter}{tier}"), &values);
        decided.insert((above, meter), value);
        if above == 0 && ["input", "output"].contains(&meter) {
            agreed &= votes > 1;
        }
    }
    (decided, agreed)
}

/// A mode without tiers of a card with tiers would be too cheap for long prompts: it is as much cheaper or dearer there as below. Returns whether any was missing.
fn add_missing_tiers(card: &Rates, mode: &mut Rates) -> bool {
    let mut added = false;
    for ((above, meter), rate) in card.iter().filter(|((above, _), _)| *above > 0) {
        let (Some(base), Some(own)) = (card.get(&(0, meter)), mode.get(&(0, meter))) else { continue };
        if !mode.contains_key(&(*above, meter)) && !base.is_zero() {
            let rate = (*rate * *own / *base).round_dp_with_strategy(6, RoundingStrategy::AwayFromZero).normalize();
            mode.insert((*above, *meter), rate);
            added = true;
        }
    }
    added
}

/// Leaves out what says nothing.
fn tidy(card: &mut Card) {
    let all = [&mut card.rates].into_iter().chain(card.modes.values_mut());
    for rates in all {
        let copy = rates.clone();
        rates.retain(|(above, meter), rate| match *meter {
            // Thinking costs what an answer costs where nothing else is said.
            "reasoning" => copy.get(&(*above, "output")) != Some(rate),
            _ => true,
        });
        // A tier in which nothing changes is none.
        let copy = rates.clone();
        rates.retain(|(above, meter), rate| {
            let below = copy.range(..(*above, "")).rfind(|((_, other), _)| other == meter);
            *above == 0 || below.map(|(_, before)| before) != Some(rate)
        });
    }
    card.modes.retain(|_, rates| rates.keys().any(|(_, meter)| is_token(meter)));
}

/// Peak hours that hold on working days only, where another source knows it.
fn add_weekdays(provider: &str, card: &mut Card, peak_hours: &[PeakHours]) {
    let known = peak_hours
        .iter()
        .find(|known| known.provider == provider && (card.from >= known.from_date || card.from == UNKNOWN_DATE));
    if let Some(known) = known {
        for schedule in &mut card.schedules {
            schedule.weekdays = ["mon", "tue", "wed", "thu", "fri"].map(str::to_owned).to_vec();
            schedule.except_dates.clone_from(&known.except_dates);
        }
    }
}

/// Names that share an entry of the first source and came out alike are one model.
fn with_aliases(models: Vec<(Option<String>, Model)>) -> Vec<Model> {
    let mut merged: Vec<(Option<String>, Model)> = Vec::new();
    for (entry, model) in models {
        let same = merged.iter_mut().find(|(other, known)| {
            entry.is_some()
                && *other == entry
                && known.cards == model.cards
                && known.context_window == model.context_window
                && known.max_output_tokens == model.max_output_tokens
        });
        match same {
            Some((_, known)) if entry.as_deref() == Some(&model.model) => {
                known.aliases.insert(0, std::mem::replace(&mut known.model, model.model));
            }
            Some((_, known)) => known.aliases.push(model.model),
            None => merged.push((entry, model)),
        }
    }
    let mut models: Vec<Model> = merged.into_iter().map(|(_, model)| model).collect();
    for model in &mut models {
        model.aliases.sort();
    }
    models.sort_by(|one, other| one.model.cmp(&other.model));
    models
}

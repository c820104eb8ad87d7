//! Deliberate bugs, for showing that the simulator finds such bugs.
//!
//! Without the feature `seeded-bugs`, which nothing that ships turns on, [`on`] is the constant `false` and the bugs are not even compiled.
//! With it, they are there and asleep until a test [wakes](wake) one of them, on its own thread.

#[cfg(all(feature = "seeded-bugs", target_arch = "wasm32"))]
compile_error!("what ships is wasm, and has no deliberate bugs: build it without the feature `seeded-bugs`");

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The check of a limit looks at what was spent and not at what is held.
    HeldIsIgnored,
    /// A call is let in where the first quota that applies has room, whatever the others say.
    OnlyFirstQuotaIsChecked,
    /// A denied reserve leaves a hold on one of its quotas.
    DenialLeavesHold,
    /// The same reserve again is held again.
    RetryIsCountedTwice,
    /// A settle adds its charge and does not end the hold.
    SettleKeepsHold,
    /// A release frees its hold twice.
    ReleaseFreesTwice,
    /// Expiry leaves out the quotas of users.
    ExpiryForgetsUserQuota,
    /// Expiry ends one hold and leaves the others that are due.
    ExpirySkipsHolds,
    /// A hold that has expired still counts as one of its user's open ones.
    ExpiredHoldStaysCounted,
    /// A release in bulk ends the holds of every user.
    BulkReleaseMindsNoUser,
    /// A late settle is noted and does not correct what expiry charged.
    LateSettleCorrectsNothing,
    /// An extension adds the new estimate to the old one.
    ExtensionAddsUp,
    /// The first instant of a period still belongs to the one before.
    PeriodEndIsInclusive,
    /// Every time zone is taken for UTC.
    ZoneIsIgnored,
    /// Half the length of a rolling window counts.
    RollingWindowIsShort,
    /// A hold that grows counts in a rolling window from when it was small.
    GrownHoldStays,
    /// A clock that is set back by less than an hour is believed.
    ClockRunsBackwards,
    /// A clock that was set back by more than an hour is overruled as one that was set back by less.
    SetBackIsOverruled,
    /// A period that comes again after the clock was set back begins with nothing spent.
    SetBackForgetsCounters,
    /// What was called under a clock that was wrong is in no rolling window once the clock is set back.
    SetBackForgetsWindow,
    /// A hold that was made under a clock that was wrong keeps its deadline.
    SetBackKeepsDeadlines,
    /// A credit that lapsed under a clock that was wrong stays lapsed.
    SetBackKeepsLapses,
    /// An increase that was ended under a clock that was wrong is in force again.
    SetBackRevivesIncreases,
    /// A period that a wrong clock has opened begins with nothing spent when it comes.
    WrongPeriodsAreForgotten,
    /// An extension or reading that is not among the latest is carried out again.
    OldRepeatIsForgotten,
    /// An older extension's or reading's id is taken for a repeat, whatever else it says.
    OldRepeatMayDiffer,
    /// A threshold that was crossed is crossed again by the next charge.
    ThresholdIsForgotten,
    /// A reset drops what is held, too.
    ResetDropsHolds,
    /// A quota that now counts something else keeps what it has counted.
    RedefinedQuotaKeepsCount,
    /// A credit goes on when it should lapse.
    CreditOutlivesItsEnd,
    /// A credit that was taken back can still be spent.
    RevokedCreditIsSpent,
    /// The same top-up again is added again.
    CreditIsAddedTwice,
    /// What a hold gives back goes to the credit that it drew on first.
    FirstCreditGetsAllBack,
    /// What a call costs beyond its hold is not drawn from what the hold drew on.
    LateCostDrawsAnew,
    /// What changes after the end of a call leaves the credits alone.
    CorrectionDrawsNothing,
    /// What comes back of a credit that has ended can be spent.
    LapsedCreditComesBack,
    /// How much a reset dropped of a call is not written down.
    ResetIsForgotten,
    /// The same refund again takes back again.
    RefundIsPaidTwice,
    /// A refund may be more than is left of the charge.
    RefundPassesCharge,
    /// A correction of a charge charges what was refunded, too.
    CorrectionForgetsRefunds,
    /// A refund is noted, and quotas count what they did.
    RefundLeavesQuotas,
    /// A limit that was raised for a while stays raised.
    IncreaseNeverEnds,
    /// What a period was left and did not use goes on once more.
    RestRollsOverAgain,
    /// A reading is charged on top of the one before.
    ReadingAddsUp,
    /// A reading that comes late takes back what a later one has charged.
    OvertakenReadingCounts,
    /// Expiry charges by its rule, also less than what was metered.
    ExpiryForgetsReadings,
    /// A settle has the rates of its own instant, not those that it was reserved with.
    NewRatesReachOpenHolds,
    /// The same document again is another version.
    OverridesAreAlwaysNew,
    /// The snapshot leaves out own rates, aliases and markups.
    SnapshotLosesOverrides,
    /// The same adjustment again is posted again.
    AdjustmentIsPostedTwice,
    /// The bound of a call leaves out its answer.
    BoundForgetsOutput,
    /// A record that minds limits is let in anyway.
    RecordMindsNoLimit,
    /// A filter sees a call only by the names that the caller wrote.
    FilterSeesNamesAsWritten,
    /// Of a list of names, a filter sees the first.
    FilterSeesFirstName,
    /// A quota is removed with the credits that are left, although nobody has said so.
    CreditsGoWithQuota,
    /// The ids of credits are forgotten with their quota.
    IdsGoWithQuota,
    /// Usage is grouped by the names that callers wrote.
    UsageSeesNamesAsWritten,
    /// Usage is counted by hours.
    UsageCountsByHour,
    /// The days of a usage report are those of UTC.
    UsageDaysAreUtc,
    /// A page of usage begins with the last group of the one before.
    UsagePageRepeats,
    /// The snapshot leaves out the last hold.
    SnapshotLosesHold,
    /// The journal leaves out a commit with a single entry.
    JournalRowIsDropped,
    /// An ended reservation is not stored where expiry ended it.
    ClosedRowIsDropped,
    /// The roll-up is added again with the next snapshot.
    RollUpIsAddedTwice,
    /// A repair leaves the roll-up as it was.
    RepairLeavesRollUp,
    /// A turn is answered although its commit failed.
    AnswerBeforeCommit,
    /// Memory is believed after a turn that failed.
    FailedTurnStaysInMemory,
    /// An instance that others have overtaken writes on.
    StaleInstanceWrites,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 68] = [
        Self::HeldIsIgnored,
        Self::OnlyFirstQuotaIsChecked,
        Self::DenialLeavesHold,
        Self::RetryIsCountedTwice,
        Self::SettleKeepsHold,
        Self::ReleaseFreesTwice,
        Self::ExpiryForgetsUserQuota,
        Self::ExpirySkipsHolds,
        Self::ExpiredHoldStaysCounted,
        Self::BulkReleaseMindsNoUser,
        Self::LateSettleCorrectsNothing,
        Self::ExtensionAddsUp,
        Self::PeriodEndIsInclusive,
        Self::ZoneIsIgnored,
        Self::RollingWindowIsShort,
        Self::GrownHoldStays,
        Self::ClockRunsBackwards,
        Self::SetBackIsOverruled,
        Self::SetBackForgetsCounters,
        Self::SetBackForgetsWindow,
        Self::SetBackKeepsDeadlines,
        Self::SetBackKeepsLapses,
        Self::SetBackRevivesIncreases,
        Self::WrongPeriodsAreForgotten,
        Self::OldRepeatIsForgotten,
        Self::OldRepeatMayDiffer,
        Self::ThresholdIsForgotten,
        Self::ResetDropsHolds,
        Self::RedefinedQuotaKeepsCount,
        Self::CreditOutlivesItsEnd,
        Self::RevokedCreditIsSpent,
        Self::CreditIsAddedTwice,
        Self::FirstCreditGetsAllBack,
        Self::LateCostDrawsAnew,
        Self::CorrectionDrawsNothing,
        Self::LapsedCreditComesBack,
        Self::ResetIsForgotten,
        Self::RefundIsPaidTwice,
        Self::RefundPassesCharge,
        Self::CorrectionForgetsRefunds,
        Self::RefundLeavesQuotas,
        Self::IncreaseNeverEnds,
        Self::RestRollsOverAgain,
        Self::ReadingAddsUp,
        Self::OvertakenReadingCounts,
        Self::ExpiryForgetsReadings,
        Self::NewRatesReachOpenHolds,
        Self::OverridesAreAlwaysNew,
        Self::SnapshotLosesOverrides,
        Self::AdjustmentIsPostedTwice,
        Self::BoundForgetsOutput,
        Self::RecordMindsNoLimit,
        Self::FilterSeesNamesAsWritten,
        Self::FilterSeesFirstName,
        Self::CreditsGoWithQuota,
        Self::IdsGoWithQuota,
        Self::UsageSeesNamesAsWritten,
        Self::UsageCountsByHour,
        Self::UsageDaysAreUtc,
        Self::UsagePageRepeats,
        Self::SnapshotLosesHold,
        Self::JournalRowIsDropped,
        Self::ClosedRowIsDropped,
        Self::RollUpIsAddedTwice,
        Self::RepairLeavesRollUp,
        Self::AnswerBeforeCommit,
        Self::FailedTurnStaysInMemory,
        Self::StaleInstanceWrites,
    ];

    /// The bug in a few words.
    #[must_use]
    pub const fn what_it_does(self) -> &'static str {
        match self {
            Self::HeldIsIgnored => "the check of a limit looks at what was spent and not at what is held",
            Self::OnlyFirstQuotaIsChecked => {
                "a call is let in where the first quota that applies has room, whatever the others say"
            }
            Self::DenialLeavesHold => "a denied reserve leaves a hold on one of its quotas",
            Self::RetryIsCountedTwice => "the same reserve again is held again",
            Self::SettleKeepsHold => "a settle adds its charge and does not end the hold",
            Self::ReleaseFreesTwice => "a release frees its hold twice",
            Self::ExpiryForgetsUserQuota => "expiry leaves out the quotas of users",
            Self::ExpirySkipsHolds => "expiry ends one hold and leaves the others that are due",
            Self::ExpiredHoldStaysCounted => "a hold that has expired still counts as one of its user's open ones",
            Self::BulkReleaseMindsNoUser => "a release in bulk ends the holds of every user",
            Self::LateSettleCorrectsNothing => "a late settle is noted and does not correct what expiry charged",
            Self::ExtensionAddsUp => "an extension adds the new estimate to the old one",
            Self::PeriodEndIsInclusive => "the first instant of a period still belongs to the one before",
            Self::ZoneIsIgnored => "every time zone is taken for UTC",
            Self::RollingWindowIsShort => "half the length of a rolling window counts",
            Self::GrownHoldStays => "a hold that grows counts in a rolling window from when it was small",
            Self::ClockRunsBackwards => "a clock that is set back by less than an hour is believed",
            Self::SetBackIsOverruled => {
                "a clock that was set back by more than an hour is overruled as one that was set back by less"
            }
            Self::SetBackForgetsCounters => {
                "a period that comes again after the clock was set back begins with nothing spent"
            }
            Self::SetBackForgetsWindow => {
                "what was called under a clock that was wrong is in no rolling window once the clock is set back"
            }
            Self::SetBackKeepsDeadlines => "a hold that was made under a clock that was wrong keeps its deadline",
            Self::SetBackKeepsLapses => "a credit that lapsed under a clock that was wrong stays lapsed",
            Self::SetBackRevivesIncreases => {
                "an increase that was ended under a clock that was wrong is in force again"
            }
            Self::WrongPeriodsAreForgotten => {
                "a period that a wrong clock has opened begins with nothing spent when it comes"
            }
            Self::OldRepeatIsForgotten => "an extension or reading that is not among the latest is carried out again",
            Self::OldRepeatMayDiffer => {
                "an older extension's or reading's id is taken for a repeat, whatever else it says"
            }
            Self::ThresholdIsForgotten => "a threshold that was crossed is crossed again by the next charge",
            Self::ResetDropsHolds => "a reset drops what is held, too",
            Self::RedefinedQuotaKeepsCount => "a quota that now counts something else keeps what it has counted",
            Self::CreditOutlivesItsEnd => "a credit goes on when it should lapse",
            Self::RevokedCreditIsSpent => "a credit that was taken back can still be spent",
            Self::CreditIsAddedTwice => "the same top-up again is added again",
            Self::FirstCreditGetsAllBack => "what a hold gives back goes to the credit that it drew on first",
            Self::LateCostDrawsAnew => "what a call costs beyond its hold is not drawn from what the hold drew on",
            Self::CorrectionDrawsNothing => "what changes after the end of a call leaves the credits alone",
            Self::LapsedCreditComesBack => "what comes back of a credit that has ended can be spent",
            Self::ResetIsForgotten => "how much a reset dropped of a call is not written down",
            Self::RefundIsPaidTwice => "the same refund again takes back again",
            Self::RefundPassesCharge => "a refund may be more than is left of the charge",
            Self::CorrectionForgetsRefunds => "a correction of a charge charges what was refunded, too",
            Self::RefundLeavesQuotas => "a refund is noted, and quotas count what they did",
            Self::IncreaseNeverEnds => "a limit that was raised for a while stays raised",
            Self::RestRollsOverAgain => "what a period was left and did not use goes on once more",
            Self::ReadingAddsUp => "a reading is charged on top of the one before",
            Self::OvertakenReadingCounts => "a reading that comes late takes back what a later one has charged",
            Self::ExpiryForgetsReadings => "expiry charges by its rule, also less than what was metered",
            Self::NewRatesReachOpenHolds => {
                "a settle has the rates of its own instant, not those that it was reserved with"
            }
            Self::OverridesAreAlwaysNew => "the same document again is another version",
            Self::SnapshotLosesOverrides => "the snapshot leaves out own rates, aliases and markups",
            Self::AdjustmentIsPostedTwice => "the same adjustment again is posted again",
            Self::BoundForgetsOutput => "the bound of a call leaves out its answer",
            Self::RecordMindsNoLimit => "a record that minds limits is let in anyway",
            Self::FilterSeesNamesAsWritten => "a filter sees a call only by the names that the caller wrote",
            Self::FilterSeesFirstName => "of a list of names, a filter sees the first",
            Self::CreditsGoWithQuota => {
                "a quota is removed with the credits that are left, although nobody has said so"
            }
            Self::IdsGoWithQuota => "the ids of credits are forgotten with their quota",
            Self::UsageSeesNamesAsWritten => "usage is grouped by the names that callers wrote",
            Self::UsageCountsByHour => "usage is counted by hours",
            Self::UsageDaysAreUtc => "the days of a usage report are those of UTC",
            Self::UsagePageRepeats => "a page of usage begins with the last group of the one before",
            Self::SnapshotLosesHold => "the snapshot leaves out the last hold",
            Self::JournalRowIsDropped => "the journal leaves out a commit with a single entry",
            Self::ClosedRowIsDropped => "an ended reservation is not stored where expiry ended it",
            Self::RollUpIsAddedTwice => "the roll-up is added again with the next snapshot",
            Self::RepairLeavesRollUp => "a repair leaves the roll-up as it was",
            Self::AnswerBeforeCommit => "a turn is answered although its commit failed",
            Self::FailedTurnStaysInMemory => "memory is believed after a turn that failed",
            Self::StaleInstanceWrites => "an instance that others have overtaken writes on",
        }
    }
}

#[cfg(feature = "seeded-bugs")]
std::thread_local! {
    static AWAKE: core::cell::Cell<Option<Fault>> = const { core::cell::Cell::new(None) };
}

/// Whether the bug is there and awake on this thread.
#[cfg(feature = "seeded-bugs")]
#[inline]
#[must_use]
pub fn on(fault: Fault) -> bool {
    AWAKE.get() == Some(fault)
}

/// Whether the bug is there and awake: it is not even there.
#[cfg(not(feature = "seeded-bugs"))]
#[inline]
#[must_use]
pub const fn on(_fault: Fault) -> bool {
    false
}

/// Wakes a bug on this thread, or puts the one that is awake to sleep.
#[cfg(feature = "seeded-bugs")]
pub fn wake(fault: Option<Fault>) {
    AWAKE.set(fault);
}

"""Money rows. Amounts are nano-units, rates nano-units per 1,000,000 tokens, all of them integers."""

from billing.models.budgets import Budget, BudgetLease, BudgetPeriod, BudgetPeriodKind
from billing.models.corrections import UsageCorrection
from billing.models.ledger import (
    OPERATOR_BOOKS,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    LedgerUnfolded,
    PostingKind,
)
from billing.models.lots import Lot, LotEntry, LotKind, Refund, RefundState
from billing.models.operator import (
    Adjustment,
    AdjustmentKind,
    AdjustmentState,
    BooksReport,
)
from billing.models.prices import RATE_CLASSES, PriceKind, PriceVersion
from billing.models.usage import (
    ArchivedBatch,
    ArchivedUsage,
    SettlementBatch,
    UsageArchive,
    UsageRecord,
    UsageRollup,
)
from billing.models.vouchers import Voucher, VoucherMiss, VoucherRedemption, VoucherSeries
from billing.models.wallets import Grant, GrantKind, Lease, LeaseState, Wallet, WalletStatus

__all__ = [
    "OPERATOR_BOOKS",
    "RATE_CLASSES",
    "Adjustment",
    "AdjustmentKind",
    "AdjustmentState",
    "ArchivedBatch",
    "ArchivedUsage",
    "BooksReport",
    "Budget",
    "BudgetLease",
    "BudgetPeriod",
    "BudgetPeriodKind",
    "Grant",
    "GrantKind",
    "Lease",
    "LeaseState",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerTransaction",
    "LedgerUnfolded",
    "Lot",
    "LotEntry",
    "LotKind",
    "PostingKind",
    "PriceKind",
    "PriceVersion",
    "Refund",
    "RefundState",
    "SettlementBatch",
    "UsageArchive",
    "UsageCorrection",
    "UsageRecord",
    "UsageRollup",
    "Voucher",
    "VoucherMiss",
    "VoucherRedemption",
    "VoucherSeries",
    "Wallet",
    "WalletStatus",
]

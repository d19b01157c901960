"""The names of the tasks of static risk, importable at no cost (the command line lists them)."""

STATIC_TASK_NAMES = (
    "static/BudgetedPath-v0",
    "static/TwoLotteries-v0",
    "static/Betting-v0",
    "static/Inventory-v0",
    "static/QueueBacklog-v0",
)

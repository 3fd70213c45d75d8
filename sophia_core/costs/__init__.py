"""What answers cost: prices, budgets, a forecast, and who used how much for what."""

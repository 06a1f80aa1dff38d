"""Budgets of money: held before a request, settled after it."""

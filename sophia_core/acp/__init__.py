"""The Agent Client Protocol, both ways: other people's agents in our plans, and us as an agent in their editors."""

"""The four panes: each is rebuilt from the store and from events, and knows no other pane."""

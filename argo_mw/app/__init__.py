"""The running application: opened, called, rebuilt, closed."""

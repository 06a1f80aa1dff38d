"""The running application: opened, asked, rebuilt, closed."""

"""What every package needs: strict reading, atomic writing, errors, processes that end well, rates."""

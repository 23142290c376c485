"""The bundled photographs: where they come from, and their masks, drawn by hand."""

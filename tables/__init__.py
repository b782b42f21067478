"""What trainer and predictor must agree on about a table: types, missing cells, dates, and typed rows.

Between a dataset or a request's rows, which come in as text or JSON, and the pipeline, which
gets float64 numbers and text. Dates become days, booleans 0 and 1, missing cells NaN or ``""``
here, so that no step is left for the pipeline that a compiled graph lacks.
"""

def load_encoder(spec):
    if spec == "static":
        from orthant.encoders.static import StaticEncoder

        return StaticEncoder.load()
    return spec


def encoder_names():
    return ("static", "minilm")

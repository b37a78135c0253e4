"""What is given for each of many images."""


def check_lengths(n_images, columns):
    """Refuse columns, such as scores and labels, that have no value for each image."""
    for name, column in columns.items():
        if column is not None and len(column) != n_images:
            raise ValueError(
                f"Got {n_images} images and {len(column)} {name} but expected as many "
                "of one as of the other."
            )

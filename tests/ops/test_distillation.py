import jax.numpy as jnp
import numpy as np

from jaxrec.ops.distillation import agreement, relation_loss, vector_loss


def test_vector_loss_is_one_minus_the_mean_cosine() -> None:
    student, teacher = jnp.array([[1.0, 0.0], [0.6, 0.8]]), jnp.array([[1.0, 0.0], [0.8, 0.6]])
    loss, metrics = vector_loss(student, teacher)
    np.testing.assert_allclose(loss, 0.02, atol=1e-6)  # cosines 1 and .96
    np.testing.assert_allclose(metrics["cosine"], 0.98, atol=1e-6)


def test_relation_loss_compares_cosines_of_any_width() -> None:
    student = jnp.array([[1.0, 0.0], [0.6, 0.8]])  # cosine .6
    teacher = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # cosine 0
    loss, metrics = relation_loss(student, teacher)
    np.testing.assert_allclose(loss, 0.36, rtol=1e-6)
    np.testing.assert_allclose(metrics["cosine_error"], 0.6, rtol=1e-6)


def test_agreement_is_the_correlation_of_cosines_between_texts() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(9, width)).astype(np.float32) for width in (4, 6))
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other))
    upper = np.triu_indices(9, 1)
    want = np.corrcoef((one @ one.T)[upper], (other @ other.T)[upper])[0, 1]
    np.testing.assert_allclose(agreement(jnp.asarray(one), jnp.asarray(other)), want, atol=1e-5)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0].astype(np.float32)
    np.testing.assert_allclose(agreement(jnp.asarray(one @ turn), jnp.asarray(one)), 1.0, atol=1e-5)

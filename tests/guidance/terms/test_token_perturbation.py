"""Laws of shuffled tokens (TPG)."""

import pytest
import torch

import guidance as g

from ..drawing import drawn

ORDER = torch.tensor([2, 0, 3, 1])


def test_a_shuffle_is_the_product_with_a_matrix_of_ones_and_zeros():
    tokens, matrix = drawn(2, 3, 4, 5), torch.zeros(4, 4, dtype=torch.float64)
    matrix[torch.arange(4), ORDER] = 1.0
    assert torch.equal(g.shuffle_tokens(tokens, order=ORDER), matrix @ tokens)


def test_a_shuffle_keeps_every_value_and_can_be_turned_back():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        tokens = drawn(2, 4, 5, dtype=dtype)
        shuffled = g.shuffle_tokens(tokens, order=ORDER)
        assert shuffled.dtype == dtype and not torch.equal(shuffled, tokens)
        assert torch.equal(shuffled.sort(1).values, tokens.sort(1).values)
        assert torch.equal(g.shuffle_tokens(shuffled, order=ORDER.argsort()), tokens)


def test_what_a_layer_adds_comes_to_other_tokens_and_none_of_it_is_lost():
    before, added = drawn(2, 4, 5), drawn(2, 4, 5, seed=1)
    got = g.shuffle_added(before, before + added, order=ORDER)
    torch.testing.assert_close(got - before, added[:, ORDER])


def test_the_result_has_the_precision_of_what_came_out():
    before, after = drawn(2, 4, 5, dtype=torch.float32), drawn(2, 4, 5, seed=1, dtype=torch.bfloat16)
    assert g.shuffle_added(before, after, order=ORDER).dtype == torch.bfloat16


def test_gradients_go_back_to_the_tokens_that_they_belong_to():
    before, after = drawn(1, 4, 2).requires_grad_(), drawn(1, 4, 2, seed=1).requires_grad_()
    g.shuffle_added(before, after, order=ORDER)[0, 0].sum().backward()  # the first place, with what is added to token 2
    assert after.grad[0, :, 0].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert before.grad[0, :, 0].tolist() == [1.0, 0.0, -1.0, 0.0]


@pytest.mark.parametrize("order", [torch.arange(3), torch.arange(5), torch.arange(4).view(2, 2)], ids=str)
def test_an_order_of_another_number_of_tokens_is_refused(order):
    with pytest.raises(ValueError, match="4 tokens"):
        g.shuffle_tokens(drawn(1, 4, 2), order=order)
    with pytest.raises(ValueError, match="4 tokens"):
        g.shuffle_added(drawn(1, 4, 2), drawn(1, 4, 2), order=order)

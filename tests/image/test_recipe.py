import pytest
import yaml

from cxrcausal.errors import RecipeError
from cxrcausal.image import ImageRecipe, list_recipes, load_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_returns_to_yaml(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert ImageRecipe.from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"name": "x", "netwrok": {}}, "unknown key 'netwrok'; did you mean 'network'"),
        (
            {"name": "x", "network": {"dept": 3}},
            r"recipe: network: unknown key 'dept'; did you mean 'depth'",
        ),
        ({"name": "x", "network": {"depth": "3"}}, "network: depth is '3'; expected int"),
        ({"name": "x", "path": {"prediction": "w"}}, "path: prediction is 'w'"),
        ({"name": "x", "solver": {"method": "hein"}}, "did you mean 'heun'"),
        ({"name": "x", "network": 5}, "network: found 5; expected keys"),
        ({}, "missing 'name'"),
    ],
)
def test_the_key_at_fault_is_named(raw, words):
    with pytest.raises(RecipeError, match=words):
        ImageRecipe.from_dict(raw)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="no recipe 'radit-tny'; did you mean 'radit-tiny'"):
        load_recipe("radit-tny")


@pytest.mark.parametrize("text", ["{", "- a", "\x00"])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"bad\.yaml"):
        load_recipe(path)


def test_own_weights_of_guidance_are_declared_by_parent():
    raw = {"name": "x", "guidance": {"form": "nested", "own": {"pleural_effusion": 2}}}
    recipe = ImageRecipe.from_dict(raw)
    assert recipe.guidance.own == {"pleural_effusion": 2.0}
    assert ImageRecipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(RecipeError, match="own: pleural_effusion is 'much'; expected float"):
        ImageRecipe.from_dict({"name": "x", "guidance": {"own": {"pleural_effusion": "much"}}})
    with pytest.raises(RecipeError, match=r"own is 2\.0; expected names and numbers"):
        ImageRecipe.from_dict({"name": "x", "guidance": {"own": 2.0}})

"""Traffic: channels, the models customers name, and the routes between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from common.sealing import seal, unseal

KEY_SEPARATOR = b"\n"


class Vendor(models.TextChoices):
    OPENAI = "openai", "OpenAI"
    AZURE = "azure", "Azure OpenAI"
    ANTHROPIC = "anthropic", "Anthropic"
    GEMINI = "gemini", "Google Gemini"
    DEEPSEEK = "deepseek", "DeepSeek"
    XAI = "xai", "xAI"
    QWEN = "qwen", "Qwen"
    LLAMA = "llama", "Llama"
    OPENROUTER = "openrouter", "OpenRouter"
    COMPATIBLE = "compatible", _("OpenAI-compatible")


class Channel(models.Model):
    """One upstream credential: where requests go and in whose name. Its keys are sealed at rest."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    vendor = models.CharField(_("vendor"), max_length=20, choices=Vendor.choices)
    base_url = models.URLField(_("base URL"), max_length=500)
    sealed_api_keys = models.BinaryField(null=True, editable=False)
    priority = models.IntegerField(_("priority"), default=10, help_text=_("Lower comes first."))
    weight = models.PositiveIntegerField(
        _("weight"), default=1, help_text=_("Share among channels of equal priority.")
    )
    timeout_first_token_s = models.FloatField(_("first token deadline, seconds"), default=30)
    max_concurrency = models.PositiveIntegerField(_("concurrent requests"), default=500)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("channel")
        verbose_name_plural = _("channels")
        ordering = ["priority", "name"]

    def __str__(self) -> str:
        return self.name

    @property
    def has_credential(self) -> bool:
        return self.sealed_api_keys is not None

    def set_api_keys(self, api_keys: tuple[str, ...]) -> None:
        """Seal `api_keys` to this channel's name; none leaves the channel without a credential."""
        joined = KEY_SEPARATOR.join(key.encode() for key in api_keys)
        self.sealed_api_keys = seal(joined, place=self._place) if api_keys else None

    def open_api_keys(self) -> tuple[str, ...]:
        """Raises SealBroken."""
        if self.sealed_api_keys is None:
            return ()
        opened = unseal(bytes(self.sealed_api_keys), place=self._place)
        return tuple(key.decode() for key in opened.split(KEY_SEPARATOR))

    @property
    def _place(self) -> str:
        return f"relay_channel.api_keys:{self.name}"


class LifecycleState(models.TextChoices):
    ACTIVE = "active", _("Active")
    DEPRECATED = "deprecated", _("Deprecated")
    RETIRED = "retired", _("Retired")


class Model(models.Model):
    """What customers write in `model`."""

    name = models.CharField(_("model"), max_length=120, unique=True)
    owned_by = models.CharField(_("owned by"), max_length=60)
    context_window = models.PositiveIntegerField(_("context window, tokens"))
    max_output_tokens = models.PositiveIntegerField(_("most output tokens"))
    max_tokens_field = models.CharField(_("limit field"), max_length=30, default="max_tokens")
    capabilities = models.JSONField(_("capabilities"), default=list, blank=True)
    traits = models.JSONField(_("traits"), default=dict, blank=True)
    lifecycle = models.CharField(
        _("lifecycle"),
        max_length=12,
        choices=LifecycleState.choices,
        default=LifecycleState.ACTIVE,
    )
    shutdown_on = models.DateField(_("shut down on"), null=True, blank=True)
    successor = models.CharField(_("successor"), max_length=120, blank=True)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    channels = models.ManyToManyField(Channel, through="Route")

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ["owned_by", "name"]

    def __str__(self) -> str:
        return self.name


class Route(models.Model):
    """A way to a model: through which channel, and what the model is called there."""

    model = models.ForeignKey(Model, models.CASCADE, verbose_name=_("model"))
    channel = models.ForeignKey(Channel, models.PROTECT, verbose_name=_("channel"))
    upstream_model = models.CharField(_("upstream model"), max_length=200)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        constraints = [
            models.UniqueConstraint(fields=["model", "channel", "upstream_model"], name="route_once")
        ]

    def __str__(self) -> str:
        return f"{self.model} → {self.channel}/{self.upstream_model}"


class AppliedCatalog(models.Model):
    """What the default catalogue was applied from, so that a start applies it only when it changed."""

    fingerprint = models.CharField(max_length=64)
    applied_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("applied catalogue")
        verbose_name_plural = _("applied catalogues")

    def __str__(self) -> str:
        return self.fingerprint[:12]
